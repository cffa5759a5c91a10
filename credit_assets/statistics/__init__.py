"""Formulas on arrays: metrics, intervals, paired tests, PSI, calibration tests and cut-offs. They are
independent of the platform's tables."""
