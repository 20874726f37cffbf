"""Training: the loop, optimizers, learning rates, averages of weights. Decoding is its caller's affair."""
