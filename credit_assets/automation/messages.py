"""Messages about work that is due, waiting or refused, for commands, sensor ticks, run tags and alerts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import assert_never

from credit_assets.automation import due
from credit_assets.automation.due import BatchDue, BatchWaiting, Due, Obstacle, Outcome, Reason, Trigger, Waiting
from credit_assets.plurals import are, number_of
from credit_assets.rounding import digits_apart

EXCERPT_LENGTH = 240
"""Characters of a check's description that a message repeats, in whole sentences."""


def text(outcome: Outcome) -> str:
    """The reason why the work is due, waits or is refused, preceded by what requests it."""
    described = describe(outcome.reason)
    if isinstance(outcome, Due):
        return described
    # A message from a run may end with a full stop.
    described = f"{described.removesuffix('.')}."
    if not outcome.requested_by:
        return _capitalised(described)
    triggers = "; ".join(map(_trigger, outcome.requested_by))
    first = (
        _capitalised(triggers) if isinstance(outcome.requested_by[0], due.NoChampion) else f"Requested by: {triggers}"
    )
    return f"{first}. {'Waits' if isinstance(outcome, Waiting) else 'Refused for now'}: {described}"


def describe(reason: Reason) -> str:
    """The reason as a clause, without a full stop."""
    if isinstance(reason, BatchDue):
        return _batch_due(reason)
    if isinstance(reason, BatchWaiting):
        return _batch_waiting(reason)
    if isinstance(reason, Trigger):
        return _trigger(reason)
    if isinstance(reason, Obstacle):
        return _obstacle(reason)
    match reason:
        case due.TrainingRequested(by, new):
            return f"{_triggers(by)}. {number_of(new, 'new outcome')} {are(new)} known."
        case due.WorseThanPredecessor(champion, predecessor, failed):
            return f"version {predecessor} replaces version {champion}: {_trigger(failed)}"
        case _:
            assert_never(reason)


def _triggers(triggers: Sequence[Trigger]) -> str:
    described = "; ".join(map(_trigger, triggers))
    # The name of a check is not capitalised.
    return described if isinstance(triggers[0], due.FailedCheck) else _capitalised(described)


def _capitalised(clause: str) -> str:
    return clause[:1].upper() + clause[1:]


def _batch_due(reason: BatchDue) -> str:
    match reason:
        case due.NotIngested():
            return "delivered, not ingested yet"
        case due.OutcomesDelivered():
            return "outcomes were delivered"
        case due.OutcomesTakenBack():
            return "its outcomes were withdrawn"
        case due.FilesDiffer(tables):
            return f"its files differ from what was ingested: {', '.join(tables)}"
        case due.FeaturesOlder():
            return "its features are older than its raw tables"
        case due.SqlChanged(files):
            return f"{', '.join(files)} changed"
        case due.NotScored():
            return "not scored yet"
        case due.FeaturesRemade():
            return "its features have changed since it was scored"
        case due.CheckedForAnother(scored_by, checked_for):
            return f"version {scored_by} scored it, but its drift was checked against version {checked_for}"
        case due.OtherChampion(champion):
            return f"its outcomes are still open, and version {champion} is now the champion"
        case due.DriftNotChecked():
            return "its scores have not been checked for drift"
        case due.PerformanceNotMeasured():
            return "the performance of its scores has not been measured on the known outcomes"
        case _:
            assert_never(reason)


def _batch_waiting(reason: BatchWaiting) -> str:
    match reason:
        case due.NotABatch(problem) | due.FileMissing(problem):
            return problem
        case due.StillWritten(files):
            return f"{', '.join(files)}: still being written, according to the name"
        case due.FilesUnreadable(files):
            return f"{', '.join(files)} cannot be read; check the permissions"
        case due.FilesChanged():
            return "its files have changed since the last poll"
        case due.FirstSeen():
            return "first seen in its present state; it is ingested if the next poll finds it unchanged"
        case due.BatchActive(then):
            return f"a run of the batch is active; it is due afterwards: {_batch_due(then)}"
        case due.RunRefused(wanted, run, refusal):
            return f"{_batch_due(wanted)}, but run {run} refused it: {refusal}"
        case due.RunFailed(wanted, run):
            another = "changed files or the daily sweep start another"
            return f"{_batch_due(wanted)}, but run {run} did not complete it; {another}"
        case due.ScoringFailed(run):
            return f"its run {run} failed; it is scored once its files or the champion change"
        case _:
            assert_never(reason)


def _trigger(reason: Trigger) -> str:
    match reason:
        case due.NoChampion():
            return "there is no champion"
        case due.RequestedByHand():
            return "requested by hand"
        case due.WeeklyChallenger():
            return "the weekly challenger"
        case due.FailedCheck(check, batch, _, description):
            return f"{check} failed on {batch} ({first_sentences(description, EXCERPT_LENGTH).rstrip('.')})"
        case due.BetterCandidate(version, champion, figures):
            return (
                f"version {version}, which the gate refused, is significantly better than version {champion} "
                f"({figures})"
            )
        case _:
            assert_never(reason)


def _obstacle(reason: Obstacle) -> str:
    match reason:
        case due.NoOutcomes():
            return "there is no champion, and no matured batch with outcomes to learn from"
        case due.NoFailedCheck(champion):
            return f"no check of a batch has failed on version {champion} since the last training"
        case due.NotWorse(champion):
            return f"version {champion} has not performed worse than its predecessor since it became champion"
        case due.BatchesActive(batches):
            return f"runs of {', '.join(batches)} are active and may add outcomes to learn from"
        case due.RollbackFirst():
            return "a rollback is due first"
        case due.TrainingActive(run):
            return f"a training is active (run {run})"
        case due.RollbackStarted(run):
            return f"run {run} was started to restore the previous champion. If it failed, roll back by hand"
        case due.CoolDown(hours, cool_down):
            ago = f"{hours:.{digits_apart(1, (hours, cool_down))}f}"
            return f"the last training began {ago} hours ago, and automation.cool_down_hours is {cool_down:g}"
        case due.TooFewOutcomes(new, candidate, needed):
            learned = f"version {candidate} has not" if candidate else "no candidate has"
            again = ". Without more outcomes, training would produce the same model again" if candidate else ""
            return (
                f"{number_of(new, 'outcome')} {are(new)} known that {learned} learned from, but "
                f"automation.min_new_outcomes requires {needed:,}{again}"
            )
        case due.FeaturesOfOtherSql(portfolio, batches):
            return (
                f"the SQL has changed since the features of {', '.join(batches)} were computed. "
                f"`credit-assets train --portfolio {portfolio}` computes them again and trains"
            )
        case due.NoPredecessor():
            return "there is no previous champion to restore"
        case due.NeverPassed(predecessor):
            return f"the previous champion, version {predecessor}, never passed the gate. Roll back by hand"
        case _:
            assert_never(reason)


def first_sentences(description: str, most: int) -> str:
    """As many whole sentences as fit into `most` characters, and always the first one."""
    first, *others = re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(description.split()))
    kept = first
    for sentence in others:
        if len(kept) + 1 + len(sentence) > most:
            break
        kept = f"{kept} {sentence}"
    return kept
