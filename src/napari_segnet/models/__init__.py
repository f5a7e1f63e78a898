"""Networks by name, and the model file."""
