"""The model that every feature reads: nodes, regions, and the image that holds them.

``node`` and ``region`` are the parts, ``image`` the whole; ``lookup``, ``places``, ``identify`` and
``annotate`` answer questions about it. Nothing here reads memory to decode it.
"""
