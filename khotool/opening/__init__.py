"""Open whatever a user names: a capture, a full dump or a manifest."""
