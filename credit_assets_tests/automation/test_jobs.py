"""The jobs cover the graph: every asset is materialized by a job of one batch or by a job without one."""

from __future__ import annotations

import dagster as dg
import pytest
import yaml

from credit_assets.automation.jobs import champion_config, promotion_config
from credit_assets.settings.run_tags import PORTFOLIO_TAG, TRAINING_TAG
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BOOK

OF_A_BATCH, OF_NONE = ("batch", "ingest", "score", "outcomes"), ("train", "rollback", "promote", "maintenance")


def assets_of(built: dg.Definitions, job: str) -> set[str]:
    return {key.path[-1] for key in built.resolve_job_def(job).asset_layer.executable_asset_keys}


def test_job_names_are_the_documented_ones(built):
    assert {job.name for job in built.jobs} == {*OF_A_BATCH, *OF_NONE}
    for name in (*OF_A_BATCH, *OF_NONE):
        assert built.resolve_job_def(name).description


def test_batch_job_covers_ingest_and_score(built):
    ingest, score = assets_of(built, "ingest"), assets_of(built, "score")
    assert assets_of(built, "batch") == ingest | score
    assert not ingest & score
    assert {"applications", "outcomes", "bureau_features", "features"} <= ingest
    assert score == {"feature_drift", "scores", "score_drift", "performance", "timeline"}


def test_outcomes_job_reads_outcomes_and_updates_performance(built):
    assert assets_of(built, "outcomes") == {"outcomes", "performance", "timeline"}


def test_rollback_job_materializes_champion_and_its_history_only(built):
    assert assets_of(built, "rollback") == {"champion", "champion_history", "timeline"}


def test_promote_job_materializes_reference_champion_and_its_history(built):
    assert assets_of(built, "promote") == {"drift_reference", "champion", "champion_history", "timeline"}
    promote = built.resolve_job_def("promote")
    assert dg.validate_run_config(promote, promotion_config(BOOK, 3, "Ann", "so"))


def test_every_asset_belongs_to_a_batch_job_or_a_training_job(built):
    """No asset belongs to both, except the history."""
    batch, train = assets_of(built, "batch"), assets_of(built, "train")
    assert batch | train == {key.path[-1] for key in built.resolve_asset_graph().materializable_asset_keys}
    assert batch & train == {"timeline"}
    assert {"training_set", "candidate", "promotion_gate", "champion", "champion_history"} <= train


def test_batch_jobs_are_partitioned_by_batch_and_others_are_not(built):
    for name in OF_A_BATCH:
        partitions = built.resolve_job_def(name).partitions_def
        assert isinstance(partitions, dg.DynamicPartitionsDefinition)
        assert partitions.name == f"{BOOK}_batches"
    for name in OF_NONE:
        assert built.resolve_job_def(name).partitions_def is None


@pytest.mark.parametrize("name", [*OF_A_BATCH, *OF_NONE])
def test_run_is_tagged_with_its_portfolio_and_retried_as_a_whole(built, name):
    tags = built.resolve_job_def(name).run_tags
    assert tags[PORTFOLIO_TAG] == BOOK
    assert tags["dagster/retry_strategy"] == "ALL_STEPS"
    assert (tags.get(TRAINING_TAG) == BOOK) == (name == "train")


def test_training_jobs_of_a_portfolio_run_one_at_a_time(built):
    [limit] = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limit == {"key": TRAINING_TAG, "limit": 1, "value": {"applyLimitPerUniqueValue": True}}


def test_manually_started_rollback_job_rolls_back_but_training_job_does_not(built):
    rollback, train = built.resolve_job_def("rollback"), built.resolve_job_def("train")
    assert rollback.run_config == champion_config(BOOK, roll_back=True)
    assert dg.validate_run_config(rollback, rollback.run_config)
    assert train.run_config is None
    champion = dg.validate_run_config(train, {})["ops"][f"{BOOK}__champion"]["config"]
    assert champion["roll_back"] is False
