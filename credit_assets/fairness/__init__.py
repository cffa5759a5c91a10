"""The fairness audit: approval rates and errors by protected attribute. No protected attribute reaches a model."""
