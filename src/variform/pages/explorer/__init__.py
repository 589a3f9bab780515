"""The explorer: a page that decodes."""
