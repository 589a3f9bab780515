"""What leaves: model files, rows, and models for other programs."""
