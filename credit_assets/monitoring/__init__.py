"""Batches held against what the champion learned from and promised: drift and performance. What follows from a failed
check belongs to `automation`."""
