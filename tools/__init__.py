"""Scripts that keep the documentation honest. Not part of the package."""
