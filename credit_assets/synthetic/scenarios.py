"""The options of the synthetic lender: the drift scenarios by name, and the first applicant's key.

They are separate so that the command line can list them without importing the generator.
"""

from __future__ import annotations

FIRST_APPLICANT = 100_001

SCENARIOS: dict[str, str] = {
    "income_inflation": "incomes, credits, annuities and goods prices of the batch are 1.5 times as large; "
    "nobody's risk has changed",
    "younger_channel": "three in five of the batch come through a new channel: applicants of 21 to 31 "
    "with short employment, thin histories, small credits and higher risk",
    "concept_change": "inputs are unchanged, but a high EXT_SOURCE_2 now goes with default instead of repayment",
}
