"""Models: design matrix, search, calibration, the baseline, and loading registered models. Whether a model is good is
judged in `evaluation`."""
