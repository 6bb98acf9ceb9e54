"""Where a handover begins: candidate roots, boot data, page size and byte order."""
