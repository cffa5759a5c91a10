"""Loads registered models. The registry stores the versions."""

from __future__ import annotations

from credit_assets.models.model import Model, UnknownKind, read_model
from credit_assets.registry.errors import RegistryError, VersionDamaged
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion


def load_model(registry: Registry, version: ModelVersion) -> Model:
    """The model of a registered version. Raises RegistryError if the version was deleted, and VersionDamaged if its
    files are missing or unreadable."""
    with registry.model_files(version) as folder:
        try:
            return read_model(folder)
        except UnknownKind as error:
            raise RegistryError(
                f"Version {version.number} of {registry.name} is of the kind {error.kind}, which this installation does"
                f" not have. Restore {error.kind}.py in models/estimators, or let an earlier version decide "
                f"(`credit-assets rollback --portfolio {registry.name}`)."
            ) from error
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise VersionDamaged(registry.name, version.number, "The model") from error


def is_complete(registry: Registry, version: ModelVersion) -> bool:
    """Whether everything that a version needs to decide can be read: its model and its feature importance."""
    try:
        load_model(registry, version)
        registry.importance(version)
    except VersionDamaged:
        return False
    return True
