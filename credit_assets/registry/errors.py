"""What can be wrong with a request to the registry. That it does not answer at all is in `availability.py`."""


class RegistryError(LookupError):
    """A model, a version, or a fact about a version that is not in the registry."""


class VersionDamaged(RegistryError):
    """A version is registered, and what was logged with it is gone or cannot be read."""

    def __init__(self, model: str, number: int, what: str) -> None:
        super().__init__(
            f"{what} of version {number} of {model} is gone or damaged. Restore the project from a backup "
            f"(docs/recovery.md), let an earlier version decide (`credit-assets rollback --portfolio {model}`), or "
            f"train a new one (`credit-assets train --portfolio {model}`)."
        )
        self.model, self.number, self.what = model, number, what


class PromotionRefused(ValueError):
    """The champion is not changed: the version was rolled back from, or it may not decide."""
