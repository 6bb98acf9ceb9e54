"""Is the handover intact, and what would a kernel do with it?"""
