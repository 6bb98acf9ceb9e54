"""The blob of an entry of the KHO root."""

from __future__ import annotations

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------
