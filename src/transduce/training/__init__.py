"""Training: schedules, optimizer, precision, the loop. Files and decoding are its caller's affair."""
