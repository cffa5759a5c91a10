"""The code locations in workspace.yaml: every portfolio is an attribute of this module."""


def __getattr__(name: str) -> object:
    """Build the Definitions of the portfolio with this name, on access, so that a broken portfolio does not affect
    others.

    Raises UnknownPortfolio, an AttributeError, for any other name.
    """
    if name.startswith("_"):
        raise AttributeError(name)
    from credit_assets.definitions import build

    return build(name)
