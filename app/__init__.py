"""LLM Infrastructure Scaling Calculator.

`app.calculations` is the pure core; everything beside it is a front end or reads data files.
Nothing is imported here, so that using the core never loads Flask.
"""
