"""Rules that need code, a module per family; constraints of definitions are in ``records``."""
