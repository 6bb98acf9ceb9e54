"""Bytes from a handover: at fresh addresses, in a different ABI version, or of metadata alone.

``lift`` takes a decoded image off its addresses, ``fresh`` lays a handover out, ``convert`` and
``pack`` are made of them, ``segments`` writes an ELF core, and ``reopen`` decodes an image that was
built without writing it. What a shape does is in its codec; ``Lifter`` and ``Builder`` give codecs
what they need. The room imports ``codec``, ``decode`` and ``handover``, and nothing above them.
"""
