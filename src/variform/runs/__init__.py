"""Runs: folders that hold a trained model, what it was trained on, its numbers, its pictures and its report."""
