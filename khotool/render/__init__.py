"""Answers as text, JSON, CSV, DTS and annotated bytes; nothing here prints."""
