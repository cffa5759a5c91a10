"""The synthetic lender: deliveries in the format of Kaggle's Home Credit download, generated from a
hidden risk. docs/synthetic_lender.md describes what it simulates and what must not be concluded from it."""
