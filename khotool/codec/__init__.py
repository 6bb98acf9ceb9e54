"""One codec for each shape a pointer can lead to."""
