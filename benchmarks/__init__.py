"""Measurements on this machine: speed and memory, beside other toolkits' too, and what models reach. See README.md."""
