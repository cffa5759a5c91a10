"""How a batch relates to the model version that it is compared with: part of its training set, older, or new."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import duckdb

from credit_assets.features.training_rows import LEARNED, TESTED, TRAINING_SET, training_rows
from credit_assets.features.versions import FEATURES, read_at, same_rows
from credit_assets.lake.tables import Lake
from credit_assets.plurals import number_of
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio


@dataclass(frozen=True)
class Standing:
    """A batch's place in the history of a model version; `description` is one or two sentences, empty for a new batch.

    `learned`: the version learned from the batch as it is now. `tested`: it was tested on the batch before its
    promotion. `older`: the batch is older than all of these. `new`: none of them, so a shift is reported.
    """

    kind: Literal["learned", "tested", "older", "new"]
    description: str = ""

    @property
    def is_new(self) -> bool:
        """Whether the batch is new to the version, so that a shift is reported."""
        return self.kind == "new"


def standing(
    con: duckdb.DuckDBPyConnection, lake: Lake, portfolio: Portfolio, version: ModelVersion, batch: str
) -> Standing:
    """The standing of a batch according to the training set of the model version. A batch that was delivered again with
    other rows after the version used it is new."""
    taken = con.sql(
        f"SELECT batch, count(*) FILTER (WHERE {LEARNED}), count(*) FILTER (WHERE {TESTED}) "
        f"FROM ({training_rows(lake, portfolio, version)}) GROUP BY batch"
    ).fetchall()
    rows = {name: (int(learned), int(tested)) for name, learned, tested in taken}
    if batch not in rows:
        oldest = min(rows)
        if batch < oldest:
            return Standing(
                "older",
                f"Not an alarm: the batch is older than {oldest}, the oldest in the training set of version "
                f"{version.number}.",
            )
        return Standing("new")
    learned, tested = rows[batch]
    made = "learned from" if learned else "was tested on"
    if not _unchanged(lake, portfolio, version, batch):
        return Standing("new", f"The batch was delivered again after version {version.number} {made} it.")
    applicants = lake.batches(portfolio.table(FEATURES))[batch].provenance.rows
    return Standing(
        "learned" if learned else "tested",
        f"Not an alarm: before its promotion, version {version.number} learned from {learned:,} of the batch's "
        f"{number_of(applicants, 'applicant')}, and was tested on {tested:,}.",
    )


def _unchanged(lake: Lake, portfolio: Portfolio, version: ModelVersion, batch: str) -> bool:
    """Whether the batch's current features are made from the same rows as those in the training set."""
    training_set, features = portfolio.table(TRAINING_SET), portfolio.table(FEATURES)
    [made] = [commit for commit in lake.history(training_set) if commit.version == version.made_from(training_set)]
    then_version = made.provenance.inputs[features]
    now = lake.batches(features)[batch]
    if now.version <= then_version:
        return True
    # The batch may have been withdrawn and delivered again unchanged.
    writes = partial(lake.writes, withdrawn=True)
    then = read_at(writes, features, batch, then_version)
    return then is not None and same_rows(writes, features, then, now)
