"""Many images as tables: scanning them, and asking questions about all of them at once.

``tables`` says what the tables are, ``inputs`` what is scanned, ``examine`` makes the rows of one
image, ``examiner`` does that in a process that may die, ``engine`` spreads the work, ``store``
keeps the results; ``query``, ``questions`` and ``compare`` read them. Imports from every room but
``tui`` and ``cli``. pyarrow, dask, duckdb and fsspec come with the extra ``khotool[fleet]``.
"""
