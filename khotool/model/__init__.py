"""The handover as one tree of values, each with its path, its type and the bytes it came from."""
