"""The configuration of a project: `khotool.toml`, or `[tool.khotool]` of `pyproject.toml`.

The nearest one, from the working directory upwards, applies; options on the command line override
it. `Project` declares the keys, for the reader and for the schema alike.
"""
