"""Model to bytes: at the model's own addresses, or at fresh ones."""
