"""The explorer: one self-contained HTML page that decodes in the browser."""
