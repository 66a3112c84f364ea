"""Training: memory per GPU, time per step, totals of a run."""
