"""Handovers written by hand: a page of TOML or JSON."""
