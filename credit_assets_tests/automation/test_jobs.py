"""The jobs cover the graph: whatever is to be made is made by one of them, of one batch or of none."""

from __future__ import annotations

import dagster as dg
import pytest
import yaml

from credit_assets.automation.jobs import champion_config, promotion_config
from credit_assets.settings.run_tags import PORTFOLIO_TAG, TRAINING_TAG
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BOOK

OF_A_BATCH, OF_NONE = ("batch", "ingest", "score", "outcomes"), ("train", "rollback", "promote", "maintenance")


def made_by(built: dg.Definitions, job: str) -> set[str]:
    return {key.path[-1] for key in built.resolve_job_def(job).asset_layer.executable_asset_keys}


def test_there_are_these_jobs(built):
    assert {job.name for job in built.jobs} == {*OF_A_BATCH, *OF_NONE}
    for name in (*OF_A_BATCH, *OF_NONE):
        assert built.resolve_job_def(name).description


def test_a_batch_is_made_whole_or_by_halves(built):
    ingest, score = made_by(built, "ingest"), made_by(built, "score")
    assert made_by(built, "batch") == ingest | score
    assert not ingest & score
    assert {"applications", "outcomes", "bureau_features", "features"} <= ingest
    assert score == {"feature_drift", "scores", "score_drift", "performance", "timeline"}


def test_later_outcomes_are_read_and_held_against_the_scores_that_there_are(built):
    assert made_by(built, "outcomes") == {"outcomes", "performance", "timeline"}


def test_a_rollback_makes_nothing_but_the_champion_and_what_tells_of_it(built):
    assert made_by(built, "rollback") == {"champion", "champion_history", "timeline"}


def test_a_promotion_by_hand_makes_the_reference_the_champion_and_what_tells_of_it(built):
    assert made_by(built, "promote") == {"drift_reference", "champion", "champion_history", "timeline"}
    promote = built.resolve_job_def("promote")
    assert dg.validate_run_config(promote, promotion_config(BOOK, 3, "Ann", "so"))


def test_every_asset_is_made_with_a_batch_or_with_a_training(built):
    """And none with both, but what tells of either."""
    batch, train = made_by(built, "batch"), made_by(built, "train")
    assert batch | train == {key.path[-1] for key in built.resolve_asset_graph().materializable_asset_keys}
    assert batch & train == {"timeline"}
    assert {"training_set", "candidate", "promotion_gate", "champion", "champion_history"} <= train


def test_jobs_of_a_batch_have_the_batches_as_partitions_and_the_others_none(built):
    for name in OF_A_BATCH:
        partitions = built.resolve_job_def(name).partitions_def
        assert isinstance(partitions, dg.DynamicPartitionsDefinition)
        assert partitions.name == f"{BOOK}_batches"
    for name in OF_NONE:
        assert built.resolve_job_def(name).partitions_def is None


@pytest.mark.parametrize("name", [*OF_A_BATCH, *OF_NONE])
def test_a_run_is_known_by_its_portfolio_and_is_launched_again_as_a_whole(built, name):
    tags = built.resolve_job_def(name).run_tags
    assert tags[PORTFOLIO_TAG] == BOOK
    assert tags["dagster/retry_strategy"] == "ALL_STEPS"
    assert (tags.get(TRAINING_TAG) == BOOK) == (name == "train")


def test_a_training_waits_for_another_one_of_its_portfolio(built):
    [limit] = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limit == {"key": TRAINING_TAG, "limit": 1, "value": {"applyLimitPerUniqueValue": True}}


def test_a_rollback_that_is_started_by_hand_rolls_back_and_a_training_does_not(built):
    rollback, train = built.resolve_job_def("rollback"), built.resolve_job_def("train")
    assert rollback.run_config == champion_config(BOOK, roll_back=True)
    assert dg.validate_run_config(rollback, rollback.run_config)
    assert train.run_config is None
    champion = dg.validate_run_config(train, {})["ops"][f"{BOOK}__champion"]["config"]
    assert champion["roll_back"] is False
