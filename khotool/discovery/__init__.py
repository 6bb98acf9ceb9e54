"""Where the handover is: KHO roots in memory, boot data, page size and byte order.

``root_tree`` reads a root down to its map, and ``roots`` chooses one of several; everything
below a root is left to decode.
"""
