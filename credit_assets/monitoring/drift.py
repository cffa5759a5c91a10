"""How far a batch has moved from what the champion learned from: PSI and KS of every feature and the score.

Holds the reference (a sketch of the training data saved with the model), the measures and their verdicts.
The page to read is made in `drift_report.py`; Dagster's assets and checks are beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import DuckDBPyRelation
from numpy.typing import NDArray

from credit_assets.lake.contracts import identifier
from credit_assets.monitoring.check_names import VOLUME
from credit_assets.plurals import number_of
from credit_assets.rounding import percent_apart
from credit_assets.schemas.drift import VERDICTS, Drift
from credit_assets.settings.drift import DriftConfig
from credit_assets.statistics.psi import psi_noise, psi_terms
from credit_assets.verdicts.verdict import Verdict

GRID = 512
"""Points of the reference's quantile grid: KS is exact to within 1 / GRID."""

CELLS_AT_ONCE = 2**24
"""Values held in memory at a time (128 MiB of doubles); columns are read in groups of this size."""

LOG_SPREADS = 3
"""Robust standard deviations of the earlier batches' volume, in logarithms, within which a batch is as usual."""

EARLIER_BATCHES = 3
"""Batches that make a usual volume, at least."""

NUMERIC_TYPES = frozenset(
    [
        "boolean",
        "tinyint",
        "smallint",
        "integer",
        "bigint",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "uhugeint",
        "float",
        "double",
        "decimal",
    ]
)
CATEGORY_TYPES = frozenset(["varchar", "enum"])

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class NumericSketch:
    """A numeric column of the training data, without its rows. Infinities are values; NaN is missing.

    `cuts` are the bins' right edges (the outer bins are open), `counts` their rows with the missing ones
    last. `grid` are observed values about equally spaced in rank; `at_most` and `below` count the rows <= and
    < each. `commonest` is the most frequent value's share of the rows present.
    """

    rows: int
    missing: int
    cuts: Floats
    counts: Counts
    grid: Floats
    at_most: Counts
    below: Counts
    commonest: float

    @classmethod
    def of(cls, values: Floats, rows: int, bins: int) -> NumericSketch:
        """Sketch the sorted values present of a column of `rows` rows."""
        cuts = _observed_quantiles(values, np.arange(1, bins) / bins)
        grid = _observed_quantiles(values, np.linspace(0, 1, GRID + 1))
        return cls(
            rows=rows,
            missing=rows - len(values),
            cuts=cuts,
            counts=_bin_counts(values, rows, cuts),
            grid=grid,
            at_most=np.searchsorted(values, grid, "right"),
            below=np.searchsorted(values, grid, "left"),
            commonest=_longest_run(values) / len(values) if len(values) else 0.0,
        )

    def bin_words(self) -> list[str]:
        inner = [f"({_number(low)}, {_number(high)}]" for low, high in zip(self.cuts, self.cuts[1:], strict=False)]
        outer = [f"up to {_number(self.cuts[0])}", f"above {_number(self.cuts[-1])}"] if len(self.cuts) else ["present"]
        return [*outer[:1], *inner, *outer[1:], "missing"]

    def median(self) -> float:
        """The lower median of the values present, of which there must be some."""
        return float(self.grid[np.searchsorted(self.at_most, (self.rows - self.missing) / 2)])


@dataclass(frozen=True)
class CategorySketch:
    """A categorical column of the training data: every category with its rows, most frequent first.

    The first `kept` categories have bins of their own; the rest, each below the rare share, form one.
    """

    rows: int
    missing: int
    categories: tuple[str, ...]
    counts: Counts
    kept: int

    @classmethod
    def of(cls, counts: Mapping[str | None, int], rare: float) -> CategorySketch:
        """Sketch a column from its rows a category; `None` is missing."""
        rows = sum(counts.values())
        ordered = sorted(((n, word) for word, n in counts.items() if word is not None), key=lambda x: (-x[0], x[1]))
        return cls(
            rows=rows,
            missing=counts.get(None, 0),
            categories=tuple(word for _, word in ordered),
            counts=np.array([n for n, _ in ordered], dtype=np.int64),
            kept=sum(n >= rare * rows for n, _ in ordered),
        )

    @property
    def commonest(self) -> float:
        """The most frequent category's share of the rows present."""
        return float(self.counts[0] / self.counts.sum()) if len(self.counts) else 0.0


Sketch = NumericSketch | CategorySketch


@dataclass(frozen=True)
class Reference:
    """What a champion's training data looked like: one sketch a feature, and one of its score.

    Or what the population looked like that it was put in charge of, which is a `batch` that it did not learn from.
    A few MB whatever the rows, saved with the model, so that measuring a batch never reads the training data.
    """

    sketches: dict[str, Sketch]
    score: str | None = None
    batch: str | None = None

    @classmethod
    def build(
        cls,
        relation: DuckDBPyRelation,
        features: Sequence[str],
        config: DriftConfig,
        score: str | None = None,
        scores: DuckDBPyRelation | None = None,
    ) -> Reference:
        """Sketch the training rows' features, and column `score` of `scores` (by default of the same rows).

        Scores should come from rows the model did not learn from (holdout or out-of-fold): scores of its
        own training rows lie further apart, and every batch would seem to have moved.
        Raises ValueError for no rows, unknown columns and types that are neither numbers nor text.
        """
        sketches: dict[str, Sketch] = {}
        sources = [(relation, list(features))]
        if score is not None:
            sources.append((relation if scores is None else scores, [score]))
        for source, names in sources:
            numeric, categorical = _by_kind(source, names)
            for name, values, rows in _sorted_values(source, numeric):
                sketches[name] = NumericSketch.of(values, rows, config.bins)
            for name, counts in _category_counts(source, categorical):
                sketches[name] = CategorySketch.of(counts, config.rare_category)
        ordered = [*features, *([] if score is None else [score])]
        return cls(sketches={name: sketches[name] for name in ordered}, score=score)

    @property
    def features(self) -> list[str]:
        return [name for name in self.sketches if name != self.score]

    def save(self, path: Path) -> None:
        """Write one Parquet file, a row a column; an existing file is replaced at once or not at all."""
        rows = [
            {"name": name, "role": "score" if name == self.score else "feature"}
            | {field.name: getattr(sketch, field.name) for field in fields(sketch)}
            for name, sketch in self.sketches.items()
        ]
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        stored = _STORED.with_metadata({"batch": self.batch} if self.batch else None)
        pq.write_table(pa.Table.from_pylist(rows, schema=stored), partial, compression="zstd")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read what `save` wrote. Raises ValueError for a Parquet file that is not a drift reference."""
        table = pq.read_table(path)
        if not table.schema.equals(_STORED):
            raise ValueError(f"{path} is not a drift reference: its columns are {table.schema.names}")
        sketches: dict[str, Sketch] = {}
        score = None
        for row in table.to_pylist():
            name, role = row.pop("name"), row.pop("role")
            score = name if role == "score" else score
            numeric = row["categories"] is None
            own: dict[str, Any] = {
                field.name: row[field.name] for field in fields(NumericSketch if numeric else CategorySketch)
            }
            own["counts"] = np.array(own["counts"], dtype=np.int64)
            if numeric:
                own |= {key: np.array(own[key], dtype=np.float64) for key in ("cuts", "grid")}
                own |= {key: np.array(own[key], dtype=np.int64) for key in ("at_most", "below")}
                sketches[name] = NumericSketch(**own)
            else:
                sketches[name] = CategorySketch(**own | {"categories": tuple(own["categories"])})
        batch = (table.schema.metadata or {}).get(b"batch")
        return cls(sketches=sketches, score=score, batch=batch.decode() if batch else None)


_STORED = pa.schema(
    [
        ("name", pa.string()),
        ("role", pa.string()),
        ("rows", pa.int64()),
        ("missing", pa.int64()),
        ("counts", pa.list_(pa.int64())),
        ("commonest", pa.float64()),
        ("cuts", pa.list_(pa.float64())),
        ("grid", pa.list_(pa.float64())),
        ("at_most", pa.list_(pa.int64())),
        ("below", pa.list_(pa.int64())),
        ("categories", pa.list_(pa.string())),
        ("kept", pa.int64()),
    ]
)


def ks_noise(rows_reference: int, rows_batch: int, chance: float) -> float:
    """The KS distance that two samples of one distribution exceed with probability `chance` at most.

    Smirnov's asymptotic tail 2 * exp(-2 * D**2 * n * m / (n + m)), which has the form and constant of the
    Dvoretzky-Kiefer-Wolfowitz bound (Massart 1990); conservative for values with ties.
    """
    return float(np.sqrt(-np.log(chance / 2) / 2 * (1 / rows_reference + 1 / rows_batch)))


def measure(
    reference: Reference,
    relation: DuckDBPyRelation,
    config: DriftConfig,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The drift table (`schemas.drift.Drift`) of a batch, what moved most first.

    Measures `columns`, by default all that the reference holds; before scoring pass `reference.features`.
    A verdict is the worse of PSI's and KS's. Each has to pass its bound, which is an effect size, and what
    sampling alone could reach (`psi_noise`, `ks_noise`, at a chance of `config.false_alarms` over all the
    columns together, after Sidak), which matters for small batches only. The figures themselves stay the
    conventional ones; nothing is subtracted from them.
    Raises ValueError for an empty batch and for columns that are absent or of another kind than in training.
    """
    names = list(reference.sketches) if columns is None else list(columns)
    unknown = [name for name in names if name not in reference.sketches]
    if unknown:
        raise ValueError(f"not in the drift reference: {', '.join(unknown)}")
    numeric, categorical = _by_kind(relation, names)
    sketches = {name: reference.sketches[name] for name in names}
    of_numbers = {name: sketch for name, sketch in sketches.items() if isinstance(sketch, NumericSketch)}
    of_words = {name: sketch for name, sketch in sketches.items() if isinstance(sketch, CategorySketch)}
    if other_kind := sorted(set(numeric) ^ set(of_numbers)):
        raise ValueError(f"numeric in training and text in the batch, or the reverse: {', '.join(other_kind)}")
    chance = _chance_each(config, len(names))
    measured = {
        name: _measure_numeric(of_numbers[name], values, rows, chance)
        for name, values, rows in _sorted_values(relation, numeric)
    } | {
        name: _measure_categories(of_words[name], counts, chance)
        for name, counts in _category_counts(relation, categorical)
    }
    drift = pd.DataFrame([{"feature": name} | measured[name] for name in names])
    drift["role"] = np.where(drift["feature"] == reference.score, "score", "feature")
    size = np.fmax(
        _effect(drift["psi"], drift["psi_noise"], config.psi_moderate, config.psi_shifted),
        _effect(drift["ks"], drift["ks_noise"], config.ks_moderate, config.ks_shifted),
    )
    drift["verdict"] = np.array(VERDICTS, dtype=object)[size]
    furthest = np.fmax(drift["psi"] / config.psi_shifted, drift["ks"] / config.ks_shifted)
    order = pd.DataFrame({"size": size, "furthest": furthest, "feature": drift["feature"]})
    order = order.sort_values(["size", "furthest", "feature"], ascending=[False, False, True])
    return drift.loc[order.index, list(Drift.to_schema().columns)].reset_index(drop=True)


def known_at_promotion(drift: pd.DataFrame, since: pd.DataFrame, promotion: str) -> pd.DataFrame:
    """The drift table of a batch, each verdict the lesser of two: against what the champion learned from (`drift`)
    and against the population that it was put in charge of (`since`), of the same batch and columns.

    What moved before the promotion was answered by it, and is no news; what moved since, or on, is. Figures stay
    those against training. Where the verdict does not, `change` says so, and names the `promotion`, in words.
    """
    size = {verdict: place for place, verdict in enumerate(VERDICTS)}
    then = drift["feature"].map(since.set_index("feature")["verdict"])
    known = then.map(size) < drift["verdict"].map(size)
    judged = drift.assign(
        verdict=drift["verdict"].mask(known, then),
        change=drift["change"].mask(known, drift["change"] + "; " + then + f" against {promotion}"),
    )
    order = judged["verdict"].map(size).sort_values(ascending=False, kind="stable")
    return judged.loc[order.index].reset_index(drop=True)


def told_of_both(told: Mapping[str, str], since: Mapping[str, str]) -> dict[str, str]:
    """Of what a warning tells of features against training, what it tells against the population at promotion too."""
    return {feature: words for feature, words in told.items() if feature in since}


@dataclass(frozen=True)
class DriftSummary:
    """A batch's drift in a few figures and a message.

    `failures` are the facts for which the drift check fails, empty unless `verdict` is shifted. Shares are of
    the features; `*_importance` are shares of the model's importance, None where no importance was given.
    """

    verdict: str
    failures: tuple[str, ...]
    features: int
    shifted: int
    moderate: int
    shifted_share: float
    shifted_importance: float | None
    score_psi: float | None
    score_ks: float | None
    score_verdict: str | None
    rows_reference: int
    rows_batch: int
    message: str


def summary(drift: pd.DataFrame, config: DriftConfig, importance: Mapping[str, float] | None = None) -> DriftSummary:
    """Judge a batch by its drift table and, where given, how much the model relies on each feature.

    Shifted, and so failed: the score shifted, or at least `config.shifted_features` of the features did, or
    those that did carry at least `config.shifted_importance` of the model's importance. Moderate: any feature
    shifted, the score moved, or as many features as above moved. `importance` is any non-negative weight a
    feature (mean absolute SHAP, gain); absent features weigh nothing.
    """
    own = drift[drift["role"] == "feature"]
    scores = drift[drift["role"] == "score"].to_dict("records")
    score = scores[0] if scores else None
    shifted, moved = own["verdict"] == "shifted", own["verdict"] != "stable"
    weight = _importance_shares(own, importance)
    failures = []
    if score is not None and score["verdict"] == "shifted":
        failures.append(f"the score shifted ({_figures(score)})")
    if shifted.any() and shifted.mean() >= config.shifted_features:
        share, bound = percent_apart(shifted.mean(), config.shifted_features)
        failures.append(f"{share} of the features shifted, bound {bound}")
    if weight is not None and weight[shifted].sum() >= config.shifted_importance:
        share, bound = percent_apart(weight[shifted].sum(), config.shifted_importance)
        failures.append(f"shifted features carry {share} of the model's importance, bound {bound}")
    moderate = (
        shifted.any()
        or (moved.any() and moved.mean() >= config.shifted_features)
        or (weight is not None and weight[moved].sum() >= config.shifted_importance)
        or (score is not None and score["verdict"] == "moderate")
    )
    verdict = "shifted" if failures else "moderate" if moderate else "stable"
    rows_reference, rows_batch = int(own["rows_reference"].iloc[0]), int(own["rows_batch"].iloc[0])
    partly = int(moved.sum() - shifted.sum())
    sentences = [
        f"{verdict.capitalize()}{': ' + '; '.join(failures) if failures else ''}.",
        f"The batch has {number_of(rows_batch, 'row')} against {rows_reference:,} of the reference.",
        *([f"The score is {score['verdict']}: {_figures(score)}."] if score is not None else []),
        f"Of {number_of(len(own), 'feature')} {int(shifted.sum())} shifted and {partly} moved moderately.",
    ]
    top = drift[drift["verdict"] != "stable"].head(5).to_dict("records")
    if top:
        sentences.append("Moved most: " + "; ".join(f"{row['feature']} ({row['change']})" for row in top) + ".")
    if (blind := float(own["psi_noise"].median())) > config.psi_moderate:
        sentences.append(f"So few rows cannot tell a PSI below {blind:.2f} from chance.")
    return DriftSummary(
        verdict=verdict,
        failures=tuple(failures),
        features=len(own),
        shifted=int(shifted.sum()),
        moderate=partly,
        shifted_share=float(shifted.mean()),
        shifted_importance=None if weight is None else float(weight[shifted].sum()),
        score_psi=None if score is None else score["psi"],
        score_ks=None if score is None or np.isnan(score["ks"]) else score["ks"],
        score_verdict=None if score is None else score["verdict"],
        rows_reference=rows_reference,
        rows_batch=rows_batch,
        message=" ".join(sentences),
    )


def unusable(drift: pd.DataFrame, config: DriftConfig, importance: Mapping[str, float] | None = None) -> dict[str, str]:
    """Important features that no longer carry what the model learned, each with why: reason enough not to
    score.

    A feature is important from `config.important_feature` of the model's importance (all are, where none is
    given). It is unusable when its missing share rose by more than `config.missing_rise`, or it became
    constant, neither of which a small batch shows by chance.
    """
    own = drift[drift["role"] == "feature"]
    weight = _importance_shares(own, importance)
    if weight is not None:
        own = own[weight >= config.important_feature]
    why: dict[str, str] = {}
    for row in own.to_dict("records"):
        rise = row["missing_batch"] - row["missing_reference"]
        if rise > config.missing_rise and row["verdict"] == "shifted":
            why[row["feature"]] = "missing {} -> {}".format(
                *percent_apart(row["missing_reference"], row["missing_batch"])
            )
        elif row["became_constant"]:
            why[row["feature"]] = "no value left" if row["missing_batch"] == 1 else "became constant"
    return why


def missing_moved(drift: pd.DataFrame, config: DriftConfig) -> dict[str, str]:
    """The features whose missing share rose or fell by more than `config.missing_moved`, and beyond chance, each
    with from what to what.

    Beyond chance: the exact intervals of both shares (Clopper & Pearson 1934) lie apart, at a chance of
    `config.false_alarms` over all the features together.
    """
    own = drift[drift["role"] == "feature"]
    shares = own[["missing_reference", "missing_batch"]].to_numpy().T
    rows = own[["rows_reference", "rows_batch"]].to_numpy().T
    low, high = _share_interval(np.round(shares * rows), rows, _chance_each(config, len(own)))
    apart = (low[1] > high[0]) | (low[0] > high[1])
    moved = own[apart & (np.abs(shares[1] - shares[0]) > config.missing_moved)]
    return {
        row["feature"]: "missing {} -> {}".format(*percent_apart(row["missing_reference"], row["missing_batch"]))
        for row in moved.to_dict("records")
    }


def new_categories(drift: pd.DataFrame, config: DriftConfig) -> dict[str, str]:
    """The features with more than `config.new_categories` of the batch in categories never seen in training, and
    beyond chance (`new_category_noise`), each with the share."""
    share = drift["new_category_share"]
    found = drift[
        (drift["role"] == "feature") & (share > np.maximum(config.new_categories, drift["new_category_noise"]))
    ]
    return {row["feature"]: f"{row['new_category_share']:.1%} of the rows" for row in found.to_dict("records")}


def volume(rows: int, earlier: Sequence[int], config: DriftConfig) -> Verdict:
    """Whether a batch's `rows` are as many as usual after the `earlier` batches' rows.

    Not as usual: more than `config.volume_ratio` times the median of the earlier ones, or less than the median
    over that, and beyond how they vary themselves (LOG_SPREADS times the median absolute deviation, scaled to a
    standard deviation, of their logarithms). Fewer than EARLIER_BATCHES batches make no usual volume.
    """
    if len(earlier) < EARLIER_BATCHES:
        before = number_of(len(earlier), "earlier batch")
        message = f"Not judged: {number_of(rows, 'applicant')} and {before}; {EARLIER_BATCHES} are needed."
        return Verdict(VOLUME, True, message, {"applicants": rows}, "warning")
    logs = np.log(np.maximum(earlier, 1))
    usual = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - usual)))
    bound = max(float(np.log(config.volume_ratio)), LOG_SPREADS * spread)
    lowest, highest = np.exp([usual - bound, usual + bound])
    ratio = rows / float(np.exp(usual))
    return Verdict(
        VOLUME,
        bool(lowest <= rows <= highest),
        f"{number_of(rows, 'applicant')} came, {ratio:.2f} times the median of {len(earlier)} earlier "
        f"batches; as usual are {np.ceil(lowest):,.0f} to {np.floor(highest):,.0f}.",
        {"applicants": rows, "ratio": ratio},
        "warning",
    )


def _chance_each(config: DriftConfig, columns: int) -> float:
    """The chance of a false alarm left to each of so many columns, after Sidak."""
    return -float(np.expm1(np.log1p(-config.false_alarms) / columns))


def _share_interval(counts: Floats, rows: Counts, chance: float) -> tuple[Floats, Floats]:
    """The exact two-sided interval of shares: one that lies elsewhere has a chance of `chance` at most."""
    from scipy.special import betaincinv

    low = betaincinv(np.maximum(counts, 1), rows - counts + 1, chance / 2)
    high = betaincinv(counts + 1, np.maximum(rows - counts, 1), 1 - chance / 2)
    return np.where(counts == 0, 0.0, low), np.where(counts == rows, 1.0, high)


def _unseen_share_noise(counts: Counts, rows_reference: int, rows_batch: int, chance: float) -> float:
    """The share of a batch in categories never seen in training that is exceeded with `chance` at most.

    What the training data missed has about the share of the categories seen once there (Good 1953). Those are
    taken at the upper bound of a Poisson count, and the batch's rows of that share at a binomial's.
    """
    from scipy.special import bdtrik, chdtri

    once = int((counts == 1).sum())
    unseen = min(1.0, float(chdtri(2 * (once + 1), chance / 2)) / 2 / rows_reference)
    return float(np.ceil(bdtrik(1 - chance / 2, rows_batch, unseen))) / rows_batch


def _importance_shares(own: pd.DataFrame, importance: Mapping[str, float] | None) -> pd.Series | None:
    """Each row's share of the model's importance; None where there is none to share out."""
    total = sum(importance.values()) if importance else 0
    if not importance or not total:
        return None
    return own["feature"].map(lambda name: importance.get(name, 0) / total)


def _figures(row: Mapping[str, Any]) -> str:
    return f"PSI {row['psi']:.3f}" + ("" if np.isnan(row["ks"]) else f", KS {row['ks']:.3f}")


def _effect(figure: pd.Series, noise: pd.Series, moderate: float, shifted: float) -> NDArray[np.int64]:
    """0 stable, 1 moderate, 2 shifted; null figures are stable."""
    beyond_chance = (figure > noise).to_numpy()
    return ((figure >= moderate).to_numpy() + (figure > shifted).to_numpy().astype(int)) * beyond_chance


def _measure_numeric(sketch: NumericSketch, values: Floats, rows: int, chance: float) -> dict[str, object]:
    present_then, present_now = sketch.rows - sketch.missing, len(values)
    measured = _measure_bins(sketch.counts, _bin_counts(values, rows, sketch.cuts), sketch.bin_words(), chance)
    ks = noise = float("nan")
    if present_then and present_now:
        right = sketch.at_most / present_then - np.searchsorted(values, sketch.grid, "right") / present_now
        left = sketch.below / present_then - np.searchsorted(values, sketch.grid, "left") / present_now
        ks = float(max(np.abs(right).max(), np.abs(left).max()))
        noise = ks_noise(present_then, present_now, chance)
        now = _number(values[(present_now - 1) // 2])
        measured["change"] = f"median {_number(sketch.median())} -> {now}; {measured['change']}"
    one_value = present_now > 0 and bool(values[0] == values[-1])
    return measured | {
        "kind": "numeric",
        "ks": ks,
        "ks_noise": noise,
        "new_category_share": 0.0,
        "new_category_noise": 0.0,
        "became_constant": _became_constant(sketch, present_now, rows, one_value, chance),
    }


def _measure_categories(sketch: CategorySketch, batch: Mapping[str | None, int], chance: float) -> dict[str, object]:
    rows, missing = sum(batch.values()), batch.get(None, 0)
    now = np.array([batch.get(word, 0) for word in sketch.categories], dtype=np.int64)
    new = {word: n for word, n in batch.items() if word is not None and word not in set(sketch.categories)}
    kept = sketch.kept
    measured = _measure_bins(
        np.array([*sketch.counts[:kept], sketch.counts[kept:].sum(), 0, sketch.missing], dtype=np.int64),
        np.array([*now[:kept], now[kept:].sum(), sum(new.values()), missing], dtype=np.int64),
        [
            *(repr(word) for word in sketch.categories[:kept]),
            "rare categories",
            f"never seen before, most often {min(new, key=lambda word: (-new[word], word), default='')!r},",
            "missing",
        ],
        chance,
    )
    one_value = sum(word is not None for word in batch) == 1
    return measured | {
        "kind": "categorical",
        "ks": float("nan"),
        "ks_noise": float("nan"),
        "new_category_share": sum(new.values()) / rows,
        "new_category_noise": _unseen_share_noise(sketch.counts, sketch.rows, rows, chance),
        "became_constant": _became_constant(sketch, rows - missing, rows, one_value, chance),
    }


def _measure_bins(then: Counts, now: Counts, words: Sequence[str], chance: float) -> dict[str, object]:
    """What the bins alone tell; the last bin holds the missing values."""
    rows_then, rows_now = int(then.sum()), int(now.sum())
    most = int(np.abs(then / rows_then - now / rows_now).argmax())
    return {
        "psi": float(psi_terms(then, now).sum()),
        "psi_noise": psi_noise(int(((then > 0) | (now > 0)).sum()), rows_then, rows_now, chance),
        "missing_reference": float(then[-1] / rows_then),
        "missing_batch": float(now[-1] / rows_now),
        "rows_reference": rows_then,
        "rows_batch": rows_now,
        "change": f"{words[most]} {then[most] / rows_then:.1%} -> {now[most] / rows_now:.1%}",
    }


def _became_constant(sketch: Sketch, present: int, rows: int, one_value: bool, chance: float) -> bool:
    """Whether a column that varied no longer does, and less likely than `chance` without drift.

    That every one of n rows repeats the first has probability commonest ** (n - 1) at most.
    """
    if not present:
        return sketch.missing < sketch.rows and (sketch.missing / sketch.rows) ** rows < chance
    return one_value and 0 < sketch.commonest < 1 and sketch.commonest ** (present - 1) < chance


def _by_kind(relation: DuckDBPyRelation, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The numeric and the categorical ones of these columns, by their DuckDB types."""
    types = dict(zip(relation.columns, relation.types, strict=True))
    absent = [name for name in names if name not in types]
    if absent:
        raise ValueError(f"not among the columns to measure drift of: {', '.join(absent)}")
    neither = [f"{name} ({types[name]})" for name in names if types[name].id not in NUMERIC_TYPES | CATEGORY_TYPES]
    if neither:
        raise ValueError(f"neither numbers nor text, so drift has no measure for them: {', '.join(neither)}")
    return (
        [name for name in names if types[name].id in NUMERIC_TYPES],
        [name for name in names if types[name].id in CATEGORY_TYPES],
    )


def _sorted_values(relation: DuckDBPyRelation, names: Sequence[str]) -> Iterator[tuple[str, Floats, int]]:
    """Each numeric column's values present, ascending and without a negative zero, and its rows; a group of columns
    in memory at a time."""
    if not names:
        return
    rows = _row_count(relation)
    group = max(1, CELLS_AT_ONCE // rows)
    for start in range(0, len(names), group):
        some = names[start : start + group]
        columns = relation.project(", ".join(f"cast({identifier(name)} as double)" for name in some)).fetchnumpy()
        for name, column in zip(some, columns.values(), strict=True):
            values = np.ma.compressed(column)
            # Adding zero makes -0.0 the 0.0 that it equals: which of the two stands first depends on the rows' order.
            values = values[~np.isnan(values)] + 0.0
            values.sort()
            yield name, values, rows


def _category_counts(relation: DuckDBPyRelation, names: Sequence[str]) -> Iterator[tuple[str, dict[str | None, int]]]:
    """Each categorical column's rows a category, `None` for missing, all in one pass."""
    if not names:
        return
    rows = _row_count(relation)
    histograms = ", ".join(f"histogram(cast({identifier(name)} as varchar))" for name in names)
    for name, present in zip(names, relation.aggregate(histograms).fetchall()[0], strict=True):
        counts: dict[str | None, int] = present or {}
        missing = rows - sum(counts.values())
        yield name, counts | ({None: missing} if missing else {})


def _row_count(relation: DuckDBPyRelation) -> int:
    rows = relation.aggregate("count(*)").fetchall()[0][0]
    if not rows:
        raise ValueError("drift cannot be measured on no rows")
    return int(rows)


def _bin_counts(values: Floats, rows: int, cuts: Floats) -> Counts:
    """Rows a bin of sorted values, the rows without a value last."""
    up_to = np.searchsorted(values, cuts, "right")
    ends: Counts = np.array([0, *up_to, len(values), rows], dtype=np.int64)
    return ends[1:] - ends[:-1]


def _observed_quantiles(values: Floats, shares: Floats) -> Floats:
    """The distinct observed values at these quantiles of sorted values (the inverse of their
    distribution)."""
    if not len(values):
        return values
    ranks = np.ceil(shares * len(values)).astype(np.int64) - 1
    return np.unique(values[np.maximum(ranks, 0)])


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:z.4g}"


def _longest_run(values: Floats) -> int:
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return int(np.diff(ends, prepend=-1).max())
