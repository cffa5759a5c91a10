"""The synthetic lender: deliveries in the format of Kaggle's Home Credit download, made from a hidden risk.
What it simulates and what must not be concluded from it: docs/synthetic_lender.md."""

from credit_assets.ingest.inbox import MARKER
from credit_assets.synthetic.lender import CHUNK, FIRST_APPLICANT, batch_names, generate
from credit_assets.synthetic.risk import SCENARIOS

__all__ = ["CHUNK", "FIRST_APPLICANT", "MARKER", "SCENARIOS", "batch_names", "generate"]
