"""The running host: what of its handover can be read, and reading it.

``survey`` says what there is, ``live`` opens it as an image, ``files`` is the host itself.
"""
