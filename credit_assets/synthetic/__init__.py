"""The synthetic lender: deliveries in the format of Kaggle's Home Credit download, made from a hidden risk.
What it simulates and what must not be concluded from it: docs/synthetic_lender.md."""
