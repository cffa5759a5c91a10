"""Adverse action reasons: why an applicant was declined, from the contributions to this applicant's own PD.

The contributions come from the model that decided (`Model.contributions`), the texts from the features' SQL
(`texts.py`). docs/decisions.md describes the legal duty (Regulation B).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from credit_assets.explanations.texts import ReasonTexts

MAX_REASONS = 4
"""More than four are "not likely to be helpful": 12 CFR 1002.9(b)(2), official commentary, paragraph 1."""

RAISED = "raised the PD"
LEAST_FAVOURABLE = "lowered the PD least"


def check_descriptions(features: Sequence[str], descriptions: Mapping[str, str]) -> None:
    """Raise ValueError, with their names, if features have no description to serve as a reason."""
    undescribed = [feature for feature in features if not descriptions.get(feature, "").strip()]
    if undescribed:
        names = ", ".join(undescribed)
        raise ValueError(f"{len(undescribed)} of {len(features)} features have no description: {names}")


@dataclass(frozen=True)
class Factors:
    """The factors of n applicants: `of` (n, k) is the index in `names` of each feature's factor.

    A factor is a family of features. If an applicant has no row in a history file, or values of several families are
    missing with the same message, these features form one factor with that message instead, so that no applicant
    receives one text twice. `messages` (as long as `names`) has the message of such a factor, and None for a family.
    """

    names: tuple[str, ...]
    messages: tuple[str | None, ...]
    of: np.ndarray

    @classmethod
    def find(cls, frame: pd.DataFrame, features: Sequence[str], texts: ReasonTexts, missing: np.ndarray) -> Factors:
        """The factors of the rows of `frame`, which has the features and may have other features of their history
        files; `missing` (n, k) marks missing values of the features."""
        names = list(dict.fromkeys(texts.families[feature] for feature in features))
        families = np.array([names.index(texts.families[feature]) for feature in features], dtype=np.int32)
        of = np.tile(families, (len(frame), 1))
        messages: list[str | None] = [None] * len(names)
        places: dict[str, int] = {}

        def place(message: str) -> int:
            if message.casefold() not in places:
                places[message.casefold()] = len(names)
                names.append(f"missing: {message}")
                messages.append(message)
            return places[message.casefold()]

        position = {feature: number for number, feature in enumerate(features)}
        by_message: dict[str, list[str]] = {}
        for feature in features:
            if feature in texts.missing:
                by_message.setdefault(texts.missing[feature].casefold(), []).append(feature)
        of_histories = {history.message.casefold() for history in texts.histories.values()}
        for message, affected in by_message.items():
            if message in of_histories or len({texts.families[feature] for feature in affected}) > 1:
                for feature in affected:
                    of[missing[:, position[feature]], position[feature]] = place(texts.missing[feature])
        for history in texts.histories.values():
            without = frame[[column for column in history.features if column in frame]].isna().to_numpy()
            members = [position[feature] for feature in history.features if feature in position]
            if members and without.shape[1]:
                of[np.ix_(without.all(axis=1), members)] = place(history.message)
        return cls(tuple(names), tuple(messages), of)

    def sums(self, contributions: np.ndarray) -> np.ndarray:
        """(n, factors): the sum of the contributions (n, k) of each factor's features, in the order of the features."""
        rows = np.arange(len(self.of))
        sums = np.zeros((len(self.of), len(self.names)))
        for feature in range(self.of.shape[1]):
            sums[rows, self.of[:, feature]] += contributions[:, feature]
        return sums


def adverse_action_reasons(
    contributions: np.ndarray,
    features: Sequence[str],
    frame: pd.DataFrame,
    texts: ReasonTexts,
    unseen: Mapping[str, np.ndarray] | None = None,
    max_reasons: int = MAX_REASONS,
) -> pd.DataFrame:
    """The reasons of n declined applicants: one row each, in the order of `contributions`.

    `contributions` (n, k) are in log-odds of default, one column per feature, and are summed by factor (`Factors`). The
    reasons are the factors with the largest positive sums, largest first, ties in the order of `features`. The text of
    a factor is that of the member with the largest contribution, which is positive if the sum is. The text says so if
    that member's value is missing, or (`unseen`, by feature) is a category that the model has not learned. If no factor
    raised the PD (the cut-off is below the model's average PD), the one reason is the factor that lowered it least, and
    `reason_basis` says so. A factor with a sum of zero is never a reason.

    `frame` has the values of the features, and other available features of their history files: if all of these are
    missing, the applicant has no row in the file.

    Columns, for each k up to `max_reasons` (None or nan after the last reason): reason_k (text), reason_feature_k (the
    strongest member), reason_family_k (the factor) and reason_log_odds_k (its sum); and reason_basis (`RAISED` or
    `LEAST_FAVOURABLE`).

    Raises ValueError if a feature has no description, a contribution is not finite, or all factors of an applicant are
    zero: there is no true reason for such a decline.
    """
    if not 1 <= max_reasons <= MAX_REASONS:
        raise ValueError(f"between 1 and {MAX_REASONS} reasons can be given, not {max_reasons}")
    check_descriptions(features, texts.descriptions)
    values = _finite(contributions, len(frame), len(features))
    missing = frame[list(features)].isna().to_numpy()
    factors = Factors.find(frame, features, texts, missing)
    sums = factors.sums(values)
    remaining = np.where(sums == 0, -np.inf, sums)
    if unexplained := int((remaining.max(axis=1) == -np.inf).sum()):
        raise ValueError(f"no feature contributed to the PD of {unexplained} declined applicants")
    own_texts = _texts_by_state(features, texts)
    state = _states(missing, features, unseen or {})
    messages = np.array(factors.messages, dtype=object)
    has_message = np.array([message is not None for message in factors.messages])
    names = np.array([*factors.names, None], dtype=object)
    columns = np.array([*features, None], dtype=object)
    nonzero = np.where(values == 0, -np.inf, values)
    rows = np.arange(len(values))
    any_raised = (remaining > 0).any(axis=1)
    reasons: dict[str, np.ndarray] = {}
    for rank in range(1, max_reasons + 1):
        top = remaining.argmax(axis=1)
        given = (remaining[rows, top] > 0) | (~any_raised & (rank == 1))
        strongest = np.where(factors.of == top[:, np.newaxis], nonzero, -np.inf).argmax(axis=1)
        text = np.where(has_message[top], messages[top], own_texts[state[rows, strongest], strongest])
        reasons[f"reason_{rank}"] = np.where(given, text, np.array(None, dtype=object))
        reasons[f"reason_feature_{rank}"] = columns[np.where(given, strongest, -1)]
        reasons[f"reason_family_{rank}"] = names[np.where(given, top, -1)]
        reasons[f"reason_log_odds_{rank}"] = np.where(given, sums[rows, top], np.nan)
        remaining[rows, top] = -np.inf
    reasons["reason_basis"] = np.where(any_raised, RAISED, LEAST_FAVOURABLE).astype(object)
    return pd.DataFrame(reasons)


def _finite(contributions: np.ndarray, applicants: int, features: int) -> np.ndarray:
    """A copy of the contributions; raises ValueError if the shape is wrong or a value is not finite."""
    values = np.array(contributions, dtype=np.float64)
    if values.shape != (applicants, features):
        raise ValueError(f"contributions of shape {values.shape} for {applicants} applicants, {features} features")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).any(axis=1).sum())} applicants' contributions are not finite")
    return values


def _states(missing: np.ndarray, features: Sequence[str], unseen: Mapping[str, np.ndarray]) -> np.ndarray:
    """The state of each value (n, k): 0 present, 1 missing, 2 a category that the model has not learned."""
    states = missing.astype(np.int8)
    for feature, rows in unseen.items():
        states[rows, list(features).index(feature)] = 2
    return states


def _texts_by_state(features: Sequence[str], texts: ReasonTexts) -> np.ndarray:
    """The texts of each feature (3, k), a row for each of the `_states`."""
    return np.array(
        [
            [texts.descriptions[feature] for feature in features],
            [texts.missing_text(feature) for feature in features],
            [texts.unseen_text(feature) for feature in features],
        ],
        dtype=object,
    )
