"""How near the predictions are to what was published: errors, ranges, the nearest measurements."""
