"""The running host: what of its handover can be read, and reading it.

``files`` reads files of the host, ``survey`` lists what is readable, ``live`` opens it as an image,
and ``booted`` says whether this boot was a live update.
"""
