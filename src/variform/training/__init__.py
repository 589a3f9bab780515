"""Training: an objective is minimised on batches of rows, and the best weights are kept."""
