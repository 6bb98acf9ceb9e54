"""The running host: what of its handover can be read, and reading it."""
