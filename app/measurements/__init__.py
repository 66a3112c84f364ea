"""Published measurements: their tables, how each was made, and what the calculator says of each row."""
