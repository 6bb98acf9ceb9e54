"""An image as JSON: the readable dump, and the full dump from which every byte comes back.

``dump`` writes values for people and scripts. ``full`` adds regions, pages and slack; ``digest``
finds which half of a full dump was edited, and ``khotool.opening`` applies the edits.
"""
