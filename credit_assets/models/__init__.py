"""Models: design matrix, parameter search, calibration, the baseline, and loading registered models. Models are
evaluated in `evaluation`."""
