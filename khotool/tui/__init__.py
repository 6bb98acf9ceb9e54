"""The terminal user interface.

Modules directly in this package know nothing of Textual: they hold the cursor, the lines of
bytes, the search, the map of memory. ``app``, ``screens`` and ``widgets`` draw them.
"""
