"""The ABI as data: definitions are loaded from ``formats/``, validated and compiled here."""
