"""Screens: one module per mode, and the dialogs."""
