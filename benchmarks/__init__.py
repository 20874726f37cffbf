"""Measurements on this machine: `make bench` for speed and memory, `make results` for what models reach."""
