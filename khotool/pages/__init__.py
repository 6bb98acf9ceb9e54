"""Sets of physical pages: ranges, preserved blocks, and who owns them.

Only numpy lies below this package, so the shapes that decode the map can return its types.
"""
