"""Errors of requests to the registry. `availability.py` has the error for a registry that does not respond."""


class RegistryError(LookupError):
    """A model, a version, or a property of a version is not in the registry."""


class VersionDamaged(RegistryError):
    """A registered version whose logged files are missing or unreadable."""

    def __init__(self, model: str, number: int, what: str) -> None:
        super().__init__(
            f"{what} of version {number} of {model} is missing or damaged. Restore the project from a backup "
            f"(docs/recovery.md), let an earlier version decide (`credit-assets rollback --portfolio {model}`), or "
            f"train a new one (`credit-assets train --portfolio {model}`)."
        )
        self.model, self.number, self.what = model, number, what


class PromotionRefused(ValueError):
    """The champion is not changed: the version was rolled back, or it must not become champion."""
