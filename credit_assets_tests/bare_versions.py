"""Registered versions without models, for tests that ask a registry which version decides and not for a PD."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit_assets.registry import tracking
from credit_assets.registry.memory import MemoryStore
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.registry import Registry
from credit_assets.registry.tags import origin_tags
from credit_assets.registry.version import DRIFT_REFERENCE, IMPORTANCE, Origin


class EmptyModel:
    """A model that saves no files."""

    features: tuple[str, ...] = ("income",)
    learned_texts: Mapping[str, tuple[str, ...]] = {}

    def save(self, folder: Path) -> None:
        folder.mkdir()


def register_bare(
    registry: Registry,
    *,
    gated: bool = True,
    importance: Mapping[str, float] | None = None,
    metrics: Mapping[str, float] | None = None,
    synthetic: bool = True,
    **origin: Any,
) -> int:
    """Register a version with this origin, without making it the challenger; its number.

    It consists of little more than tags, because logging a model to MLflow is slow. `gated` versions have a drift
    reference.
    """
    store, tags = registry.store, origin_tags(registry.name, Origin(synthetic=synthetic, **origin))
    with tempfile.TemporaryDirectory() as folder:
        if gated:
            (Path(folder) / DRIFT_REFERENCE).touch()
        if importance is not None:
            (Path(folder) / IMPORTANCE).write_text(json.dumps(importance))
        if isinstance(store, MemoryStore):
            run_id = store.log_model(EmptyModel(), run_name="", params={}, metrics={}, tags=tags, parent_run=None)
            store.log(run_id, metrics or {}, {"": Path(folder)})
            return store.add_version(run_id, tags).number
        assert isinstance(store, MlflowStore)
        client = tracking.client(store.tracking_uri)
        run_id = client.create_run(tracking.experiment(store.tracking_uri, store.name, store.artifacts)).info.run_id
        store.log(run_id, metrics or {}, {"": Path(folder)})
        if store.model() is None:
            client.create_registered_model(store.name)
        return int(client.create_model_version(store.name, "nowhere", run_id, tags=tags).version)


def register_same_model(registry: Registry, number: int) -> int:
    """Register the model of a version in MLflow again, under a new run without files and metrics; its number."""
    store = registry.store
    assert isinstance(store, MlflowStore)
    client = tracking.client(store.tracking_uri)
    known = client.get_model_version(store.name, str(number))
    bare = client.create_run(client.get_experiment_by_name(store.name).experiment_id)
    return int(client.create_model_version(store.name, known.source, bare.info.run_id, tags=known.tags).version)


def delete(registry: Registry, number: int) -> None:
    """Delete a version, as a person can in MLflow."""
    store = registry.store
    if isinstance(store, MemoryStore):
        store.delete_version(number)
    else:
        assert isinstance(store, MlflowStore)
        tracking.client(store.tracking_uri).delete_model_version(store.name, str(number))
