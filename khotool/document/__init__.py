"""The full dump: regions, pages and slack as JSON, from which every byte of metadata comes back.

``digest`` tells which half of a dump somebody edited. The readable half is made in ``render``, and
its edits are applied in ``opening``.
"""
