"""Whether a job is due: `Due`, `Waiting` or `Refused`, each with its reason as data.

`messages.py` turns them into text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class _Fact:
    @property
    def code(self) -> str:
        """The reason's name for programs, such as `files_differ`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


# -- why a batch is due ------------------------------------------------------------------------------


@dataclass(frozen=True)
class NotIngested(_Fact):
    """The batch was delivered and never ingested."""


@dataclass(frozen=True)
class OutcomesDelivered(_Fact):
    """Outcomes arrived for a batch that had already been ingested."""


@dataclass(frozen=True)
class OutcomesTakenBack(_Fact):
    """The batch's outcomes file is no longer in the inbox."""


@dataclass(frozen=True)
class FilesDiffer(_Fact):
    """The tables were ingested from files that differ from the delivered ones."""

    tables: tuple[str, ...]


@dataclass(frozen=True)
class FeaturesOlder(_Fact):
    """A raw table behind the features was rewritten after them."""


@dataclass(frozen=True)
class SqlChanged(_Fact):
    """These SQL files have changed since the batch's features were made."""

    files: tuple[str, ...]


@dataclass(frozen=True)
class NotScored(_Fact):
    """The batch has features and no scores."""


@dataclass(frozen=True)
class FeaturesRemade(_Fact):
    """The batch's features were recomputed from other rows since it was scored."""


@dataclass(frozen=True)
class CheckedForAnother(_Fact):
    """One version scored features whose drift was checked against another."""

    scored_by: int
    checked_for: int


@dataclass(frozen=True)
class OtherChampion(_Fact):
    """The batch is still open, and this version became champion since it was scored."""

    champion: int


@dataclass(frozen=True)
class DriftNotChecked(_Fact):
    """The drift of the batch's scores was not checked."""


@dataclass(frozen=True)
class PerformanceNotMeasured(_Fact):
    """The performance of the batch's scores was not measured on the known outcomes."""


# -- why a batch waits -------------------------------------------------------------------------------


@dataclass(frozen=True)
class NotABatch(_Fact):
    """The entry of the inbox is not a batch; `problem` is the reason."""

    problem: str


@dataclass(frozen=True)
class StillWritten(_Fact):
    """The names of these files show that a program is still writing them."""

    files: tuple[str, ...]


@dataclass(frozen=True)
class FileMissing(_Fact):
    """A table has no file; `problem` names it."""

    problem: str


@dataclass(frozen=True)
class FilesUnreadable(_Fact):
    """This process is not allowed to read the files."""

    files: tuple[str, ...]


@dataclass(frozen=True)
class FilesChanged(_Fact):
    """The files have changed since the previous poll."""


@dataclass(frozen=True)
class FirstSeen(_Fact):
    """No earlier poll has seen the files as they are."""


@dataclass(frozen=True)
class BatchActive(_Fact):
    """A run of the batch is active; once it has ended, the batch is due because of `then`."""

    then: BatchDue


@dataclass(frozen=True)
class RunRefused(_Fact):
    """A run for this work refused its input, for the reason `text`."""

    due: BatchDue
    run: str
    text: str


@dataclass(frozen=True)
class RunFailed(_Fact):
    """A run was started for this work and did not complete it: it failed or was cancelled."""

    due: BatchDue
    run: str


@dataclass(frozen=True)
class ScoringFailed(_Fact):
    """The run that made the batch's features failed at its scores."""

    run: str


# -- triggers of a training or a rollback, and why it waits or is refused ----------------------------


@dataclass(frozen=True)
class NoChampion(_Fact):
    """The portfolio has no champion."""


@dataclass(frozen=True)
class RequestedByHand(_Fact):
    """A person requested a training."""


@dataclass(frozen=True)
class WeeklyChallenger(_Fact):
    """The schedule requests a challenger."""


@dataclass(frozen=True)
class FailedCheck(_Fact):
    """A check failed on a batch; `description` is the whole text of its result."""

    check: str
    batch: str
    at: datetime
    description: str


@dataclass(frozen=True)
class BetterCandidate(_Fact):
    """The gate refused a candidate that is significantly better than the champion, by these `figures`."""

    version: int
    champion: int
    figures: str


@dataclass(frozen=True)
class TrainingRequested(_Fact):
    """The requests for a training, and how many outcomes the newest candidate has not learned from."""

    by: tuple[Trigger, ...]
    new_outcomes: int


@dataclass(frozen=True)
class WorseThanPredecessor(_Fact):
    """The champion performed worse than its predecessor."""

    champion: int
    predecessor: int
    failed: FailedCheck


@dataclass(frozen=True)
class NoOutcomes(_Fact):
    """There is no champion, and no matured batch has an outcome to learn from."""


@dataclass(frozen=True)
class NoFailedCheck(_Fact):
    """No check of a batch has failed on the champion since the last training."""

    champion: int


@dataclass(frozen=True)
class NotWorse(_Fact):
    """The champion has not performed worse than its predecessor since it became champion."""

    champion: int


@dataclass(frozen=True)
class BatchesActive(_Fact):
    """Runs of these batches are active and may add outcomes to learn from."""

    batches: tuple[str, ...]


@dataclass(frozen=True)
class RollbackFirst(_Fact):
    """A rollback is due and has to run before a training."""


@dataclass(frozen=True)
class TrainingActive(_Fact):
    """A training is active."""

    run: str


@dataclass(frozen=True)
class RollbackStarted(_Fact):
    """A run was started that restores the previous champion."""

    run: str


@dataclass(frozen=True)
class CoolDown(_Fact):
    """The last training began less than `automation.cool_down_hours` ago."""

    hours_since: float
    cool_down_hours: float


@dataclass(frozen=True)
class TooFewOutcomes(_Fact):
    """The newest candidate (None: there is none) has not learned from `new` known outcomes, fewer than the `needed`
    ones."""

    new: int
    candidate: int | None
    needed: int


@dataclass(frozen=True)
class FeaturesOfOtherSql(_Fact):
    """The features of these batches were made by SQL that differs from the current SQL."""

    portfolio: str
    batches: tuple[str, ...]


@dataclass(frozen=True)
class NoPredecessor(_Fact):
    """There was no champion before this one."""


@dataclass(frozen=True)
class NeverPassed(_Fact):
    """The champion before this one never passed the gate."""

    predecessor: int


BatchDue = (
    NotIngested
    | OutcomesDelivered
    | OutcomesTakenBack
    | FilesDiffer
    | FeaturesOlder
    | SqlChanged
    | NotScored
    | FeaturesRemade
    | CheckedForAnother
    | OtherChampion
    | DriftNotChecked
    | PerformanceNotMeasured
)
BatchWaiting = (
    NotABatch
    | StillWritten
    | FileMissing
    | FilesUnreadable
    | FilesChanged
    | FirstSeen
    | BatchActive
    | RunRefused
    | RunFailed
    | ScoringFailed
)
Trigger = NoChampion | RequestedByHand | WeeklyChallenger | FailedCheck | BetterCandidate
"""What requests a training or a rollback."""
Obstacle = (
    NoOutcomes
    | NoFailedCheck
    | NotWorse
    | BatchesActive
    | RollbackFirst
    | TrainingActive
    | RollbackStarted
    | CoolDown
    | TooFewOutcomes
    | FeaturesOfOtherSql
    | NoPredecessor
    | NeverPassed
)
"""Why no training or rollback is due."""
Reason = BatchDue | BatchWaiting | Trigger | TrainingRequested | WorseThanPredecessor | Obstacle


@dataclass(frozen=True)
class Due:
    """A job that is due, for a batch or (training, rollback) for none, and the reason.

    `tables`: the assets of the job that are made, if not all. `key`: identifies the work; it changes when an input of
    the work changes. `correction`: the batch was ingested before, from other files. `champion`: the champion when this
    was found due, if it matters.
    """

    job: str
    batch: str | None
    reason: BatchDue | Trigger | TrainingRequested | WorseThanPredecessor
    tables: tuple[str, ...] = ()
    key: str = ""
    correction: bool = False
    champion: int | None = None


@dataclass(frozen=True)
class Waiting:
    """Nothing is started until something else has happened; `requested_by`: what requests it."""

    reason: BatchWaiting | Trigger | Obstacle
    requested_by: tuple[Trigger, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A run would be of no use at present; `requested_by`: what requests it."""

    reason: BatchWaiting | Obstacle
    requested_by: tuple[Trigger, ...] = ()


Outcome = Due | Waiting | Refused
