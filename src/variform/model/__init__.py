"""The five pieces of a VAE: two networks and three families of laws, and what joins them."""
