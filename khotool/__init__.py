"""khotool: decode, encode, diff and validate Linux kexec handover images."""
