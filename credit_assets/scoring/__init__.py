"""The champion and the scores of a batch, as assets."""
