"""The dock: form <-> configuration, events -> Qt."""
