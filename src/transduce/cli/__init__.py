"""The command line: one file a group of commands. The only layer that prints."""
