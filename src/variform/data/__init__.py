"""Data: from a file, a folder or an array to rows that are split, scaled and understood."""
