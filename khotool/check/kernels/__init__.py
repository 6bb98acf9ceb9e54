"""What a kernel does with an image: its own checks, in its own order."""

from __future__ import annotations

from khotool.check.kernels.judge import judge, verdict_document

__all__ = ["judge", "verdict_document"]
