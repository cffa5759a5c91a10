"""The asset `champion`: what it promotes, rolls back and refuses. Predictions and gate results are made by hand;
`end_to_end/` tests a complete run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from credit_assets.book.book import Book
from credit_assets.lake.io_managers import lake_io_manager
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.resources import lake_resource
from credit_assets.lake.tables import Lake
from credit_assets.registry.memory import Memory
from credit_assets.registry.registry import Registry
from credit_assets.scoring.assets import assets
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import AUTOMATIC_TAG, WHY_TAG
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, configure, make_project

STEP = f"{BOOK}__champion"
DEMANDS = {
    "discrimination": "AUC 0.700 reaches 0.650.",
    "calibration": "ECE 0.01 is within 0.02.",
    "not_worse_than_champion": "There is no champion.",
}


@dataclass(frozen=True)
class Line:
    """A project with a job that makes the asset, of the candidate that was last judged."""

    project: Project
    instance: dg.DagsterInstance

    registry: Registry

    def register(self, gated: bool = True) -> int:
        return register_bare(self.registry, gated=gated, cut_off=0.1)

    def judge(self, version: int, missed: str = "", champion: int | None = None) -> None:
        """Write the candidate's predictions and gate results; it fails one verdict if `missed`. The predictions name
        the `champion` that they compare it with, 0 for none."""
        row = {"applicant": 1, "batch": "2026-01", "model": "candidate", "target": 0, "pd": 0.1}
        verdicts = [
            {"verdict": name, "passed": name != missed, "blocking": True, "words": words}
            for name, words in DEMANDS.items()
        ]
        made = Provenance(champion_version=champion)
        with duckdb.connect() as con:
            for table, rows in (("predictions", [row]), ("promotion_gate", verdicts)):
                con.register("_rows", pd.DataFrame(rows).assign(candidate_version=version))
                Lake(self.project.lake).replace(con, "SELECT * FROM _rows", f"{BOOK}/{table}", None, made)

    def make(self, config: dict[str, Any] | None = None, **tags: str) -> dg.ExecuteInProcessResult:
        definitions = dg.Definitions(
            assets=[
                assets(Book(self.project, Portfolio.load(self.project, BOOK), registry=self.registry))[0],
                *(
                    dg.AssetSpec([BOOK, made]).with_io_manager_key("lake_io")
                    for made in ("predictions", "promotion_gate")
                ),
            ],
            jobs=[dg.define_asset_job("decide", dg.AssetSelection.assets([BOOK, "champion"]))],
            resources={"lake": lake_resource(self.project), "lake_io": lake_io_manager},
            executor=dg.in_process_executor,
        )
        return definitions.resolve_job_def("decide").execute_in_process(
            run_config={
                "ops": {STEP: {"config": config or {}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            instance=self.instance,
            tags=tags,
            raise_on_error=False,
        )

    def refused(self, config: dict[str, Any] | None = None) -> str:
        """The message of the failure."""
        result = self.make(config)
        assert not result.success
        [failure] = [event for event in result.all_events if event.is_step_failure]
        assert failure.step_failure_data.user_failure_data is not None
        return str(failure.step_failure_data.user_failure_data.description)

    def moves(self) -> list[tuple[int, str]]:
        return [(event.version, event.by) for event in self.registry.history()]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """Two versions, the second of which was evaluated and passed."""
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    made = Line(project, dg.DagsterInstance.ephemeral(), Memory().registry(BOOK))
    for _ in range(2):
        version = made.register()
    made.judge(version)
    return made


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success
    [made] = result.asset_materializations_for_node(STEP)
    return {name: value.value for name, value in made.metadata.items()}


def test_candidate_that_passed_is_promoted_with_the_reasons(line):
    told = metadata(line.make(**{WHY_TAG: "features_stable failed on 2026-03"}))
    assert (told["model_version"], told["previous_version"], told["by"]) == (2, None, "gate")
    reasons = [
        "features_stable failed on 2026-03.",
        "It passed the gate.",
        "AUC 0.700 reaches 0.650.",
        "There is no champion.",
    ]
    assert told["why"] == " ".join(reasons)
    assert told["synthetic"]
    [event] = line.registry.history()
    assert event.why == told["why"]


def test_candidate_that_failed_a_verdict_is_not_promoted(line):
    line.judge(2, missed="calibration")
    assert "did not pass the promotion gate. ECE 0.01" in line.refused()
    assert line.moves() == []


def test_repeated_materialization_moves_nothing_and_reports_the_same(line):
    once, again = line.make(), line.make()
    assert line.moves() == [(2, "gate")]
    assert metadata(once) == metadata(again)


@pytest.mark.parametrize(("compared", "before"), [(0, "no champion"), (1, "version 1")])
def test_candidate_is_not_promoted_over_a_champion_that_it_was_not_compared_with(
    line: Line, compared: int, before: str
) -> None:
    first, by_hand, candidate = 1, 2, line.register()
    if compared:
        line.registry.promote(first, by="gate", why="first")
    line.judge(candidate, champion=compared)
    line.registry.promote(by_hand, by="hand", why="while the candidate was evaluated")
    assert line.refused().startswith(
        f"Version 3 of {BOOK} was compared with {before}, but version 2 has become the champion since. Train again"
    )
    assert line.registry.champion().number == by_hand
    line.judge(candidate, champion=by_hand)
    assert line.make().success
    # A run that is repeated finds its candidate promoted.
    assert line.make().success
    assert line.registry.champion().number == candidate


def test_automatic_and_manual_rollbacks_are_distinguished(line):
    line.registry.promote(1, by="gate", why="first")
    line.make()
    told = metadata(line.make({"roll_back": True, "why": "AUC fell"}, **{AUTOMATIC_TAG: "true"}))
    assert (told["model_version"], told["previous_version"]) == (1, 2)
    assert (told["by"], told["why"]) == ("rollback", "AUC fell")
    told = metadata(line.make({"roll_back": True, "to_version": 2}))
    assert (told["model_version"], told["by"], told["why"]) == (2, "hand", "no reason given")


def test_champion_can_be_changed_by_hand_beside_predictions_of_an_earlier_release(line):
    line.registry.promote(1, by="gate", why="first")
    line.make()
    wide = {"applicant": 1, "batch": "2026-01", "target": 0, "candidate": 0.1, "baseline": 0.1, "candidate_version": 2}
    with duckdb.connect() as con:
        con.register("_rows", pd.DataFrame([wide]))
        Lake(line.project.lake).replace(con, "SELECT * FROM _rows", f"{BOOK}/predictions", None, Provenance())
    assert metadata(line.make({"roll_back": True}))["model_version"] == 1


def test_rolled_back_version_is_not_promoted_when_the_asset_is_materialized_again(line):
    line.registry.promote(1, by="gate", why="first")
    line.make()
    line.make({"roll_back": True, "why": "AUC fell"})
    assert "Version 2 of home_credit was rolled back from" in (said := line.refused())
    assert "(AUC fell). Train a new candidate" in said
    assert line.moves()[-1] == (1, "hand")


def test_retried_rollback_run_moves_once(line):
    for number in (1, 2):
        line.registry.promote(number, by="gate", why="better")
    line.judge(line.register())
    line.make()
    first = line.make({"roll_back": True})
    repeated = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    told = metadata(line.make({"roll_back": True}, **repeated))
    assert told["model_version"] == 2
    assert line.moves()[-1] == (2, "hand")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"roll_back": True}, "has no predecessor that has not been rolled back"),
        ({"roll_back": True, "to_version": 3}, "Version 3 of home_credit never passed the gate"),
        ({"roll_back": True, "to_version": 9}, "Model home_credit has no version 9"),
        ({"to_version": 1}, "require roll_back"),
    ],
)
def test_rollback_without_a_target_is_refused_with_a_message(line, config, words):
    line.make()
    line.register(gated=False)
    assert words in line.refused(config)
    assert line.moves() == [(2, "gate")]


def test_rollback_of_a_former_champion_moves_nothing(line):
    line.registry.promote(1, by="gate", why="first")
    line.make()
    told = metadata(line.make({"roll_back": True, "from_version": 1}))
    assert (told["model_version"], told["by"]) == (2, "gate")
    assert line.moves() == [(1, "gate"), (2, "gate")]


def by_hand(version: int, by: str = "Ann Smith", why: str = "the test month was odd") -> dict[str, Any]:
    return {"promote_version": version, "by": by, "why": why}


def test_version_refused_by_the_gate_is_promoted_by_hand_as_an_override(line):
    line.make()
    line.judge(line.register(), missed="calibration")
    page = line.project.reports / BOOK / "evaluation-v3.html"
    page.parent.mkdir(parents=True)
    page.write_text("<body><h1>candidate 3</h1></body>")
    told = metadata(line.make(by_hand(3, why="<b>odd</b>")))
    assert (told["model_version"], told["previous_version"], told["by"]) == (3, 2, "override")
    assert told["why"].startswith("Promoted by hand. Ann Smith: <b>odd</b>.")
    assert told["approvals"] == "Version 3 is promoted by hand, approved by Ann Smith."
    assert line.moves() == [(2, "gate"), (3, "override")]
    marked = page.read_text()
    assert marked.index("OVERRIDE OF THE GATE: Promoted by hand. Ann Smith: &lt;b&gt;odd") < marked.index("<h1>")
    assert line.registry.has_file(line.registry.get(3), "report/evaluation-v3.html")


def test_champion_stays_until_the_second_approval_if_two_are_required(line):
    configure(line.project, {"promotion": {"approvals": 2}})
    line.make()
    told = metadata(line.make(by_hand(1)))
    assert told["model_version"] == 2
    assert "It is promoted once one other person approves too" in told["approvals"]
    assert metadata(line.make(by_hand(1, by="ann smith")))["model_version"] == 2
    told = metadata(line.make(by_hand(1, by="Bob Jones", why="looked at it")))
    assert (told["model_version"], told["by"]) == (1, "override")
    assert "ann smith: the test month was odd; Bob Jones: looked at it." in told["why"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (by_hand(1, why=""), "needs the name of the approver (by) and the reason (why)"),
        (by_hand(1, by=""), "needs the name of the approver (by) and the reason (why)"),
        (by_hand(9), "Model home_credit has no version 9"),
        (by_hand(2), "Version 2 of home_credit is the champion already"),
        (by_hand(1) | {"roll_back": True}, "promote_version may only be combined with by and why"),
    ],
)
def test_incomplete_manual_promotion_is_refused_with_a_message(line, config, words):
    line.make()
    assert words in line.refused(config)
    assert line.moves() == [(2, "gate")]
