"""One codec for each shape a pointer can lead to, and what codecs share.

A codec walks bytes to nodes, lifts nodes off their addresses, reads manifests, builds
bytes, and judges a definition's use of its shape. Other rooms import ``base`` (codecs by shape),
``scene`` and ``walk`` (what a walk is given), ``choose`` and ``conditions`` (which of several
formats is meant), and functions of single shapes; nothing here imports discovery or decode.
"""
