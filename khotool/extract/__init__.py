"""The bytes that a handover carries, reassembled."""
