"""The results of a candidate on the test rows: evaluations, comparisons and plots, computed in the same way for the
metrics asset, the gate and the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from credit_assets.evaluation import plots
from credit_assets.evaluation.predictions import MODELS
from credit_assets.settings.evaluation import EvaluationConfig
from credit_assets.statistics.comparison import Comparison, compare
from credit_assets.statistics.metrics import Evaluation, evaluate


@dataclass(frozen=True)
class Evidence:
    """The evaluations of the models on the test rows, the candidate first, and the comparisons of the candidate with
    the others on the same rows (for the champion, the rows that it has PDs of)."""

    models: dict[str, Evaluation]
    comparisons: dict[str, Comparison]

    @property
    def candidate(self) -> Evaluation:
        return self.models["candidate"]

    def metrics(self) -> pd.DataFrame:
        """The `Metrics` table: one row per model and metric."""
        return pd.DataFrame(
            [
                {"model": model, "metric": metric, **vars(interval)}
                for model, evaluation in self.models.items()
                for metric, interval in evaluation.metrics.items()
            ]
        )


def evaluate_models(predictions: pd.DataFrame, cut_off: float, config: EvaluationConfig, seed: int) -> Evidence:
    """Evaluate every model that has PDs in `predictions` (the result of `by_model`).

    The candidate's `cut_off` is used for all models, so that all approve by one rule. Raises ValueError if the test
    rows have only one outcome.
    """
    models, comparisons = {}, {}
    for model in _pds(predictions):
        rows = predictions[predictions[model].notna()]
        target, pds = rows["target"].to_numpy(), _pds(rows)
        models[model] = evaluate(target, pds[model], cut_off, config.n_bootstrap, seed, config.confidence)
        if model != "candidate":
            comparisons[model] = compare(target, pds["candidate"], pds[model], config.confidence)
    return Evidence(models, comparisons)


def pictures(
    predictions: pd.DataFrame, evaluation: Evaluation, by_batch: pd.DataFrame, curves: pd.DataFrame | None = None
) -> dict[str, bytes]:
    """The plots of the candidate as PNGs by title; ROC and precision-recall also show the other models.

    `predictions` is the result of `by_model`, `by_batch` that of `vintages.performance_by_batch`, which is plotted if
    there are several batches, and `curves` that of `vintages.vintage_curves`.
    """
    target = predictions["target"].to_numpy()
    pds = _pds(predictions)
    counts = {model: int((~np.isnan(of_model)).sum()) for model, of_model in pds.items()}
    named = {
        model if counts[model] == len(target) else f"{model}, {counts[model]} of {len(target)} rows": of_model
        for model, of_model in pds.items()
    }
    over_time = {}
    if by_batch["batch"].nunique() > 1:
        over_time["Default rate by batch"] = plots.default_rate_by_batch(by_batch)
    if curves is not None:
        over_time["Vintage curves"] = plots.vintage_curves(curves)
    return {
        "ROC": plots.roc(target, named),
        "Precision and recall": plots.precision_recall(target, named),
        "Calibration": plots.calibration(evaluation.deciles),
        "PDs of goods and bads": plots.score_distribution(target, pds["candidate"], evaluation.cut_off),
        "Gains": plots.gains(evaluation.deciles),
        **over_time,
    }


def _pds(predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """The PDs of each model that has any, the candidate first; nan for rows without a PD."""
    return {
        model: predictions[model].to_numpy(dtype=np.float64) for model in MODELS if predictions[model].notna().any()
    }
