"""The jobs cover the graph: whatever is to be made is made by one of them."""

from credit_assets.definitions import build
from credit_assets.project import Project
from credit_assets_tests.conftest import PROJECT


def test_every_asset_is_made_by_one_job():
    definitions = build("home_credit", Project(PROJECT))
    made = [
        key
        for name in ("ingest", "train", "score")
        for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys
    ]
    assert len(made) == len(set(made))
    assert set(made) == definitions.resolve_asset_graph().materializable_asset_keys


def test_jobs_of_a_batch_have_batches_and_the_training_has_none():
    definitions = build("home_credit", Project(PROJECT))
    partitions = {name: definitions.resolve_job_def(name).partitions_def for name in ("ingest", "train", "score")}
    assert partitions["train"] is None
    assert partitions["ingest"] == partitions["score"]
    assert partitions["ingest"] is not None
