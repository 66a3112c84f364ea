"""The command line: a module per group of commands, and answers as text for a terminal."""
