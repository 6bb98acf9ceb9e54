"""What changed between two handovers."""
