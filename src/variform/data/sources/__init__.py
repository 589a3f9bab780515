"""Sources: from a file, a folder or a built-in name to rows and labels, as they stand there."""
