"""Text as numbers: the mean outcome or the frequency of each category, learned from the training rows.

The configuration selects the features, `design_matrix.py` the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from credit_assets.features.training_set import hash_share
from credit_assets.settings.training import Kind

PARTS = 5
"""The parts that applicants are split into, so that no row is encoded by its own outcome."""


@dataclass(frozen=True)
class Encoding:
    """A number for each category, and one for all others; a missing value stays missing."""

    kind: Kind
    numbers: dict[str, float]
    other: float

    def of(self, values: pd.Series) -> np.ndarray:
        """(rows,) float32, nan if the value is missing."""
        codes = pd.Categorical(values, categories=list(self.numbers)).codes
        table = np.array([*self.numbers.values(), self.other], dtype=np.float32)
        # The code of an unknown value is -1, which indexes the last entry of the table.
        return np.where(values.isna(), np.float32(np.nan), table[codes])

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Encoding:
        return cls(**facts)


@dataclass(frozen=True)
class Coded:
    """A text feature of the training rows: codes (n,), -1 for missing; the categories in code order; outcomes (n,) of 0
    and 1; and the applicants' keys (n,)."""

    codes: np.ndarray
    categories: Sequence[str]
    target: np.ndarray
    keys: np.ndarray

    def fit(self, kind: Kind) -> tuple[Encoding, np.ndarray]:
        """The encoding fitted to these rows, and (n,) float32 to train a model on.

        `frequency`: the category's share of the rows; 0 for an unseen category.

        `target`: the category's mean outcome, shrunk towards the overall rate p as (bads + K p) / (rows + K)
        (Micci-Barreca 2001, "A preprocessing scheme for high-cardinality categorical attributes"); p for an unseen
        category. K is that of Buehlmann and Straub (1970): the variance of outcomes within categories over the variance
        of the true rates between categories, both estimated from the rows; if categories do not differ beyond chance,
        all get the overall rate. The training values are cross-fitted over PARTS parts of applicants: a row's number
        comes from the outcomes of the other parts, or the model would rely on it too much. p and K are those of all
        rows, so that the model cannot distinguish the parts by them (scikit-learn's TargetEncoder takes p from the
        other parts).
        """
        known = self.codes >= 0
        rows = self._count(known)
        if kind == "frequency":
            numbers, other = rows / max(len(self.codes), 1), 0.0
            learned = self._of_each(numbers)
        else:
            bads = self._count(known & (self.target == 1))
            other = float(self.target.mean())
            credibility = _credibility(rows, bads)
            numbers = _drawn(rows, bads, credibility, other)
            parts = np.floor(hash_share(self.keys, "encoding") * PARTS)
            learned = np.full(len(self.codes), np.nan)
            for part in range(PARTS):
                own = known & (parts == part)
                others_rows = rows - self._count(own)
                others_bads = bads - self._count(own & (self.target == 1))
                learned[own] = _drawn(others_rows, others_bads, credibility, other)[self.codes[own]]
        seen = {name: float(np.float32(numbers[code])) for code, name in enumerate(self.categories) if rows[code]}
        return Encoding(kind, seen, float(np.float32(other))), learned.astype(np.float32)

    def _count(self, which: np.ndarray) -> np.ndarray:
        """The number of selected rows by category."""
        return np.bincount(self.codes[which], minlength=len(self.categories))

    def _of_each(self, numbers: np.ndarray) -> np.ndarray:
        return np.append(numbers, np.nan)[self.codes]


def _credibility(rows: np.ndarray, bads: np.ndarray) -> float:
    """Buehlmann and Straub's K from the categories' rows and bads: the variance within over the variance between
    categories; inf if there is none between."""
    seen = rows > 0
    rows, bads = rows[seen], bads[seen]
    total, categories = int(rows.sum()), len(rows)
    repeated = total - categories
    spread = total - float((rows**2).sum()) / total if total else 0.0
    if repeated <= 0 or spread <= 0:
        return np.inf
    rates, rate = bads / rows, float(bads.sum()) / total
    within = float((rows * rates * (1 - rates)).sum()) / repeated
    between = (float((rows * (rates - rate) ** 2).sum()) - (categories - 1) * within) / spread
    return within / between if between > 0 else np.inf


def _drawn(rows: np.ndarray, bads: np.ndarray, credibility: float, rate: float) -> np.ndarray:
    """The categories' rates, shrunk towards the overall rate."""
    weight = np.zeros(len(rows))
    np.divide(rows, rows + credibility, out=weight, where=rows > 0)
    own = np.divide(bads, rows, out=np.full(len(rows), rate), where=rows > 0)
    return weight * own + (1 - weight) * rate


def texts_learned(
    categories: Mapping[str, Sequence[str]], encodings: Mapping[str, Encoding]
) -> dict[str, Collection[str]]:
    """For each text feature of a model, the values seen in training, whether it is a category or encoded."""
    return {**categories, **{name: encoding.numbers.keys() for name, encoding in encodings.items()}}


def encodings_as_json(categories: Mapping[str, Sequence[str]], encodings: Mapping[str, Encoding]) -> dict[str, Any]:
    """The categories and encodings of a model, to be written as JSON."""
    return {"categories": categories, "encodings": {name: encoding.as_json() for name, encoding in encodings.items()}}


def encodings_from_json(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The values that `encodings_as_json` wrote; a model without encodings may lack them."""
    encodings = facts.get("encodings", {})
    return {
        "categories": {name: tuple(texts) for name, texts in facts["categories"].items()},
        "encodings": {name: Encoding.from_json(encoding) for name, encoding in encodings.items()},
    }
