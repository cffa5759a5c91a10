"""Why a batch cannot be measured. What the registry lacks is an error of its own room."""

from __future__ import annotations

from collections.abc import Sequence

from credit_assets.plurals import are, number_of


class MonitoringError(ValueError):
    """A batch cannot be measured; the message says what to do about it."""


class NoChampion(MonitoringError):
    """There is no champion to compare a batch with."""

    def __init__(self, portfolio: str) -> None:
        super().__init__(f"Portfolio {portfolio} has no champion to hold a batch against; run the job train first.")
        self.portfolio = portfolio


class VersionGone(MonitoringError):
    """The version that scored a batch is no longer registered."""

    def __init__(self, portfolio: str, number: int, batch: str) -> None:
        super().__init__(
            f"Version {number} of {portfolio}, which scored {batch}, is no longer registered; "
            "run the job score to have the batch scored by the champion."
        )
        self.portfolio, self.number, self.batch = portfolio, number, batch


class FeaturesGone(MonitoringError):
    """A batch lacks features that the version relies on."""

    def __init__(self, number: int, features: Sequence[str]) -> None:
        super().__init__(
            f"Version {number} relies on {', '.join(features)}, which the batch's features do not hold. If the "
            "SQL makes them, run the job `ingest` for the batch; else put them back, or train without them."
        )
        self.number, self.features = number, tuple(features)


class OtherApplicants(MonitoringError):
    """Scored applicants are no longer in a table of their batch."""

    def __init__(self, applicants: int, table: str, batch: str) -> None:
        super().__init__(
            f"{number_of(applicants, 'applicant')} scored in {batch} {are(applicants)} not in {table} as it is now: "
            f"the scores were made from other rows. Run the job `score` for {batch}, then measure the performance."
        )
        self.applicants, self.table, self.batch = applicants, table, batch
