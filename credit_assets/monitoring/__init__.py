"""Drift and performance: batches compared with the champion's training data and predictions. `automation` decides what
follows from a failed check."""
