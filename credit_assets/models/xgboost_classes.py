"""XGBoost's matrices and booster, whose feature names and types are read once instead of in every round.

In each round XGBoost compares the names of the booster and the matrix, and fetches both from C one by one. With
hundreds of features and thousands of rows this takes as long as a round itself, and holds Python's lock meanwhile.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import xgboost

T = TypeVar("T")


@cache
def booster_class() -> type[xgboost.Booster]:
    import xgboost

    return _reads_names_once(xgboost.Booster)


@cache
def binned_matrix_class() -> type[xgboost.QuantileDMatrix]:
    import xgboost

    return _reads_names_once(xgboost.QuantileDMatrix)


@cache
def plain_matrix_class() -> type[xgboost.DMatrix]:
    import xgboost

    return _reads_names_once(xgboost.DMatrix)


def _reads_names_once(base: type[T]) -> type[T]:
    return type(base.__name__, (base,), {name: _read_once(base, name) for name in ("feature_names", "feature_types")})


def _read_once(base: type, name: str) -> property:
    """The property of the base class, whose value is kept until it is set again."""
    of_base, kept = getattr(base, name), f"_kept_{name}"

    def read(self: Any) -> Any:
        if vars(self).get(kept) is None:
            vars(self)[kept] = of_base.fget(self)
        return vars(self)[kept]

    def write(self: Any, value: Any) -> None:
        vars(self).pop(kept, None)
        of_base.fset(self, value)

    return property(read, write)
