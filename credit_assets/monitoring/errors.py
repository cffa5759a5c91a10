"""Errors if a batch cannot be measured. Errors of the registry are in `registry/errors.py`."""

from __future__ import annotations

from collections.abc import Sequence

from credit_assets.plurals import are, number_of


class MonitoringError(ValueError):
    """A batch cannot be measured; the message states what to do."""


class NoChampion(MonitoringError):
    """There is no champion to compare a batch with."""

    def __init__(self, portfolio: str) -> None:
        super().__init__(f"Portfolio {portfolio} has no champion to compare a batch with. Run the job `train` first.")
        self.portfolio = portfolio


class DeletedVersion(MonitoringError):
    """The version that scored a batch is no longer registered."""

    def __init__(self, portfolio: str, number: int, batch: str) -> None:
        super().__init__(
            f"Version {number} of {portfolio}, which scored {batch}, is no longer registered. "
            "Run the job `score`, so that the champion scores the batch."
        )
        self.portfolio, self.number, self.batch = portfolio, number, batch


class MissingFeatures(MonitoringError):
    """A batch lacks features that the version relies on."""

    def __init__(self, number: int, features: Sequence[str]) -> None:
        super().__init__(
            f"Version {number} needs {', '.join(features)}, which the batch's features do not contain. If the SQL "
            "computes them, run the job `ingest` for the batch. Otherwise restore them, or train without them."
        )
        self.number, self.features = number, tuple(features)


class OtherApplicants(MonitoringError):
    """Scored applicants are missing from a table of their batch."""

    def __init__(self, applicants: int, table: str, batch: str) -> None:
        super().__init__(
            f"{number_of(applicants, 'scored applicant')} of {batch} {are(applicants)} not in the current {table}: "
            f"the scores were computed from other rows. Run the job `score` for {batch}, then measure the performance."
        )
        self.applicants, self.table, self.batch = applicants, table, batch
