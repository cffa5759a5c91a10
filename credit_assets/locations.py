"""The code locations that workspace.yaml names: one portfolio an attribute, and nothing else of this module's own."""


def __getattr__(name: str) -> object:
    """The Definitions of the portfolio of this name, built when asked for, so that no portfolio breaks another.

    Raises UnknownPortfolio, an AttributeError, for a name that is no portfolio.
    """
    if name.startswith("_"):
        raise AttributeError(name)
    from credit_assets.definitions import build

    return build(name)
