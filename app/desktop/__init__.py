"""The window of `python -m app desktop`. Nothing outside this package loads Tk."""
