"""The handover as one model: find the root, follow every pointer, keep every span."""
