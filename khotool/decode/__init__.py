"""From captured memory to an image: the pipeline of frozen values, and phases.

``open`` is the way in for captures and memory, ``blobs`` for copies of debugfs and bare trees.
``phase`` infers when an image was taken; ``salvage`` finds lists whose head a kernel has reused.
"""
