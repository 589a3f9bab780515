"""Compression: rows as a file that is no longer than the model's ELBO says, and back."""
