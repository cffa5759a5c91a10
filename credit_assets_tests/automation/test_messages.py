"""Messages about what is due, waiting or refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from credit_assets.automation import due
from credit_assets.automation.due import Due, Reason, Refused, Waiting
from credit_assets.automation.messages import describe, first_sentences, text

FAILED = due.FailedCheck("features_stable", "2026-03", datetime(2026, 4, 1, tzinfo=UTC), "Two features shifted.")
BETTER = due.BetterCandidate(4, 3, "AUC +0.0420")
EXAMPLES: list[Reason] = [
    due.NotIngested(),
    due.OutcomesDelivered(),
    due.OutcomesTakenBack(),
    due.FilesDiffer(("bureau",)),
    due.FeaturesOlder(),
    due.SqlChanged(("features.sql",)),
    due.NotScored(),
    due.FeaturesRemade(),
    due.CheckedForAnother(2, 1),
    due.OtherChampion(2),
    due.DriftNotChecked(),
    due.PerformanceNotMeasured(),
    due.NotABatch("'May 2026' cannot be a batch's name"),
    due.StillWritten(("bureau.csv.part",)),
    due.FileMissing("Table bureau: no file bureau"),
    due.FilesUnreadable(("bureau.csv",)),
    due.FilesChanged(),
    due.FirstSeen(),
    due.BatchActive(due.NotScored()),
    due.RunRefused(due.NotIngested(), "7f3a", "bureau.csv lacks the column SK_ID_CURR"),
    due.RunFailed(due.NotIngested(), "7f3a"),
    due.ScoringFailed("7f3a"),
    due.NoChampion(),
    due.RequestedByHand(),
    due.WeeklyChallenger(),
    FAILED,
    BETTER,
    due.TrainingRequested((FAILED, BETTER), 1),
    due.WorseThanPredecessor(2, 1, FAILED),
    due.NoOutcomes(),
    due.NoFailedCheck(1),
    due.NotWorse(1),
    due.BatchesActive(("2026-03", "2026-04")),
    due.RollbackFirst(),
    due.TrainingActive("7f3a"),
    due.RollbackStarted("7f3a"),
    due.CoolDown(1.0, 24.0),
    due.TooFewOutcomes(0, 1, 500),
    due.FeaturesOfOtherSql("home_credit", ("2026-03",)),
    due.NoPredecessor(),
    due.NeverPassed(1),
]


def test_every_reason_has_its_own_code_and_description() -> None:
    assert {type(reason) for reason in EXAMPLES} == set(get_args(Reason))
    assert len({describe(reason) for reason in EXAMPLES}) == len({reason.code for reason in EXAMPLES}) == len(EXAMPLES)
    assert (due.FilesDiffer(()).code, due.NotABatch("").code) == ("files_differ", "not_a_batch")


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Waiting(due.NoChampion()), "There is no champion."),
        (
            Due("train", None, due.TrainingRequested((due.NoChampion(),), 2)),
            "There is no champion. 2 new outcomes are known.",
        ),
        (
            Due("train", None, due.TrainingRequested((due.RequestedByHand(),), 2_000)),
            "Requested by hand. 2,000 new outcomes are known.",
        ),
        (
            Due("train", None, due.TrainingRequested((FAILED, BETTER), 1)),
            "features_stable failed on 2026-03 (Two features shifted); version 4, which the gate refused, is "
            "significantly better than version 3 (AUC +0.0420). 1 new outcome is known.",
        ),
        (
            Waiting(due.TrainingActive("7f3a"), (FAILED,)),
            "Requested by: features_stable failed on 2026-03 (Two features shifted). Waits: a training is active "
            "(run 7f3a).",
        ),
        (
            Refused(due.CoolDown(1.04, 24.0), (due.NoChampion(),)),
            "There is no champion. Refused for now: the last training began 1.0 hours ago, and "
            "automation.cool_down_hours is 24.",
        ),
        (
            Refused(due.RunRefused(due.NotIngested(), "7f3a", "It lacks a column.")),
            "Delivered, not ingested yet, but run 7f3a refused it: It lacks a column.",
        ),
    ],
)
def test_message_of_an_outcome_names_its_triggers(outcome: Due | Waiting | Refused, said: str) -> None:
    assert text(outcome) == said


@pytest.mark.parametrize(
    ("description", "most", "kept"),
    [
        ("", 10, ""),
        ("One fact. Another fact. A third.", 24, "One fact. Another fact."),
        ("One fact. Another fact. A third.", 3, "One fact."),
        ("Off by 1.5 pp (p = 0.002). Then more.", 30, "Off by 1.5 pp (p = 0.002)."),
        ("One fact\n  over two lines. Two.", 100, "One fact over two lines. Two."),
    ],
)
def test_message_of_a_reason_quotes_whole_sentences_of_a_check(description: str, most: int, kept: str) -> None:
    assert first_sentences(description, most) == kept
