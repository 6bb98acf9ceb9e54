"""The command line: one module per command.

What a user gives may be refused anywhere in this room: functions raise a ``KhotoolError``, which
``main`` prints as one line, and types of options an ``argparse.ArgumentTypeError``.
"""
