"""The log of runs and what is found in it: the file, its index, rows, notes, comparison, drift."""
