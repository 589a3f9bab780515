"""What a run is made of: every value it depends on, with its default and what it may be."""
