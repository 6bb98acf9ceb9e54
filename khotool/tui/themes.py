"""Themes: one for dark and one for light terminals."""

from __future__ import annotations

import os

from textual.theme import Theme

DARK = Theme(
    name="khotool-dark",
    primary="#7fb4ff",
    secondary="#c3a6ff",
    accent="#ffb454",
    foreground="#d8dee9",
    background="#11151c",
    surface="#171d27",
    panel="#1f2733",
    success="#8fd694",
    warning="#ffcb6b",
    error="#ff6b7a",
    dark=True,
    variables={"border-blurred": "#39455a", "footer-key-foreground": "#ffb454"},
)
LIGHT = Theme(
    name="khotool-light",
    primary="#0b5cad",
    secondary="#6f3fb3",
    accent="#b65c00",
    foreground="#1f2630",
    background="#fbfaf7",
    surface="#f1efe9",
    panel="#e6e3da",
    success="#1d7a3a",
    warning="#9a6700",
    error="#c1121f",
    dark=False,
    variables={"border-blurred": "#b9b4a6", "footer-key-foreground": "#b65c00"},
)
THEMES = (DARK, LIGHT)


def default_theme() -> str:
    """The light one where ``COLORFGBG`` says that the terminal's background is light."""
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "15") else DARK.name
