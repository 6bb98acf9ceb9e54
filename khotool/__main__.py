"""``python -m khotool``."""

from __future__ import annotations

import sys

from khotool.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
