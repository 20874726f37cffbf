"""The laboratory: what a model does and why, measured and shown."""
