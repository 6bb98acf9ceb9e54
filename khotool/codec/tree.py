"""A device tree at an address, with a definition of its own."""

from __future__ import annotations

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------
