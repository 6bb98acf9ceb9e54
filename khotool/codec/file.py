"""Another file of the same session, named by its token."""

from __future__ import annotations

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------
