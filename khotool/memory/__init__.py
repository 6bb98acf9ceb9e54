"""Physical memory out of files; nothing here knows what the bytes mean."""
