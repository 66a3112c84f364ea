"""What users define themselves, and models read from a file, a paste or a hub."""
