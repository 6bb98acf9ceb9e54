"""Conventions of programs that keep their own records in what they hand over."""
