"""Open whatever a user names: a capture, a full dump or a manifest.

The room is above everything that decodes, encodes or reads a model; nothing below it needs to open
a file of unknown kind.
"""
