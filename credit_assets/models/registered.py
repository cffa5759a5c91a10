"""Loading registered models. The registry has the versions."""

from __future__ import annotations

from credit_assets.models.model import Model, read_model
from credit_assets.registry.errors import VersionDamaged
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion


def load_model(registry: Registry, version: ModelVersion) -> Model:
    """The model of a registered version. Raises RegistryError where it has been deleted since, and VersionDamaged where
    its files are gone or cannot be read."""
    with registry.model_files(version) as folder:
        try:
            return read_model(folder)
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise VersionDamaged(registry.name, version.number, "The model") from error


def is_whole(registry: Registry, version: ModelVersion) -> bool:
    """Whether all that a version needs to decide can be read: its model, and how much it relies on each feature."""
    try:
        load_model(registry, version)
        registry.importance(version)
    except VersionDamaged:
        return False
    return True
