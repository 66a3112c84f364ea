"""Calibration: coefficients and ranges fitted to measurements (`python -m app calibrate`).

`compiled` turns rows into arrays, `model` predicts them all at once for any coefficients, `fit` finds the coefficients,
`folds` leaves whole groups out, `ranges` turns what remains into ranges.
"""
