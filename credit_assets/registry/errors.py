"""What can be wrong with a request to the registry. That it does not answer at all is in `availability.py`."""


class RegistryError(LookupError):
    """A model, a version, or a fact about a version that is not in the registry."""


class PromotionRefused(ValueError):
    """The champion is not changed: the version was rolled back from, or it may not decide."""
