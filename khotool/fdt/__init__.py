"""Flattened device trees, lossless: bounds-checked reader, byte-exact writers, DTS text."""
