"""Where the handover is: KHO roots in memory, boot data, page size and byte order.

``root_tree`` reads a root down to its map, and ``roots`` tells which of several is meant; what
hangs from a root is left to decode.
"""
