"""The jobs cover the graph: whatever is to be made is made by one of them."""

JOBS = ("ingest", "train", "score")


def test_every_asset_is_made_by_one_job(built):
    made = [key for name in JOBS for key in built.resolve_job_def(name).asset_layer.executable_asset_keys]
    assert len(made) == len(set(made))
    assert set(made) == built.resolve_asset_graph().materializable_asset_keys


def test_jobs_of_a_batch_have_batches_and_the_training_has_none(built):
    partitions = {name: built.resolve_job_def(name).partitions_def for name in JOBS}
    assert partitions["train"] is None
    assert partitions["ingest"] == partitions["score"]
    assert partitions["ingest"] is not None
