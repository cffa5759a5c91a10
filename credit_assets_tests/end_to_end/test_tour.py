"""docs/tour.py, run as a script in a project that has scores: it gives the platform's results without Dagster."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from credit_assets_tests.conftest import PROJECT, Line
from credit_assets_tests.small_project import BATCHES, table

RUN = """
import json, runpy, sys
tour = runpy.run_path(sys.argv[1])
print(json.dumps({
    "applicants": tour["features"][tour["key"]].tolist(),
    "pds": tour["pds"].tolist(),
    "points": tour["card"].tolist(),
    "decisions": tour["decisions"].tolist(),
    "reasons": tour["reasons"]["reason_1"].tolist(),
    "half": float(tour["half"]),
    "dagster": sorted(name for name in sys.modules if name.split(".")[0].startswith("dagster")),
}))
"""


@pytest.fixture(scope="module")
def toured(line: Line) -> dict[str, Any]:
    """The variables of the tour, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(PROJECT / "docs" / "tour.py")],
        cwd=line.project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *printed, found = done.stdout.splitlines()
    return json.loads(found) | {"printed": printed}


def test_tour_reproduces_the_scores_of_the_platform(line, toured):
    scores = table(line.project, "scores", BATCHES[-1]).set_index("applicant").loc[toured["applicants"]]
    assert len(scores) == 5
    for found, column in {"pds": "pd", "points": "points", "decisions": "decision", "reasons": "reason_1"}.items():
        assert toured[found] == scores[column].tolist()


def test_tour_explains_the_first_applicant(toured):
    assert any("log-odds of the PD" in line for line in toured["printed"])
    assert 0 < toured["half"] < 1 and toured["half"] != toured["pds"][0]


def test_tour_does_not_import_dagster(toured):
    assert toured["dagster"] == []
