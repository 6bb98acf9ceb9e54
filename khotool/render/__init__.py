"""Results as text, JSON, CSV, HTML, DTS and annotated bytes; nothing here prints."""
