"""The handover in types: sessions, files, objects, regions, entries, preserved memory.

A view is a thin, frozen object over a node of the model: it knows under which names each version
of a format keeps a value, reads lazily, and keeps nothing. Checks, diff, renderers, the TUI and
scripts (through ``khotool.open``) all use it; it imports the model and what is below it.

Three kinds of nothing are distinct everywhere:

* an ``Absent`` with its reason: the value is there, and this capture cannot show it;
* ``None``: this version of the format has no such value;
* an empty list or 0: the kernel that wrote the image said so.
"""
