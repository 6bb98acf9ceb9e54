"""What codecs are given in each direction: a walk to write nodes with, and the encode side's own.

Every direction's context is defined here or below, so that codecs import nothing above them.
"""

from __future__ import annotations

# -- bytes to nodes ----------------------------------------------------------------------
from khotool.codec.walk import Walk

__all__ = ["Walk"]


# -- nodes to a handover, and back to bytes ----------------------------------------------
