"""Formulas on arrays: metrics, intervals, paired tests, PSI, calibration tests and cut-offs. No table of the platform
is known here."""
