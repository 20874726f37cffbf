"""Models of this project in other programs."""
