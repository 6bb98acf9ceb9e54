"""Preserved-page maps in every form the kernel has had: pages of a map to blocks, and back."""
