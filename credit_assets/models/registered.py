"""Registered models, loaded again. Which versions there are is the registry's."""

from __future__ import annotations

from credit_assets.models.estimators import PDModel
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion


def load_model(registry: Registry, version: ModelVersion) -> PDModel:
    """The model of a registered version. Raises RegistryError where it has been deleted since."""
    with registry.model_files(version) as folder:
        return PDModel.load(folder)
