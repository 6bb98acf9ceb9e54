"""Widgets that draw line by line, and the tree."""
