"""A range of payload, its length in a sibling."""

from __future__ import annotations

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------
