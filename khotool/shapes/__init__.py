"""Structures that need an algorithm: maps, lists, vmalloc areas; walked and built."""
