"""From a KHO root to the whole model, pointer by pointer."""
