"""The synthetic lender: deliveries in the format of Kaggle's Home Credit download, generated from hidden risk traits.
docs/synthetic_lender.md describes the simulation and the conclusions that it does not allow."""
