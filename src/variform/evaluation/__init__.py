"""Evaluation: how good is p(x), what do the latents hold, what would a simpler model do, and what comes out."""
