"""What authors of definitions need: BTF, drafts, comparisons, versions of a kernel file."""
