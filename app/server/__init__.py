"""What stands between a request and its view: who may ask, how much, and what is told of it."""
