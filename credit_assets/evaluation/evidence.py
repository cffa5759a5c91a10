"""What the predictions table tells of the candidate: evaluations, comparisons and plots, made the same way
for the metrics asset, the gate and the report.

The formulas are `metrics.py`'s and `comparison.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from credit_assets.evaluation import plots
from credit_assets.evaluation.comparison import Comparison, compare
from credit_assets.evaluation.config import EvaluationConfig
from credit_assets.evaluation.metrics import Evaluation, evaluate

MODELS = ("candidate", "baseline", "champion")


@dataclass(frozen=True)
class Evidence:
    """Evaluations of the models on the same test rows, the candidate first, and it against the others."""

    models: dict[str, Evaluation]
    comparisons: dict[str, Comparison]

    @property
    def candidate(self) -> Evaluation:
        return self.models["candidate"]

    def metrics(self) -> pd.DataFrame:
        """The `Metrics` table: one row a model and metric."""
        return pd.DataFrame(
            [
                {"model": model, "metric": metric, **vars(interval)}
                for model, evaluation in self.models.items()
                for metric, interval in evaluation.metrics.items()
            ]
        )


def candidate_of(predictions: pd.DataFrame) -> str:
    """The registered version of the candidate whose `Predictions` these are."""
    return str(predictions["candidate_version"].iloc[0])


def gather(predictions: pd.DataFrame, cut_off: float, config: EvaluationConfig, seed: int) -> Evidence:
    """Evaluate every model that the `Predictions` table holds PDs of.

    `cut_off` is the candidate's: the others are judged by it too, so that all approve by one rule.
    Raises ValueError where the test rows have one outcome only.
    """
    target = predictions["target"].to_numpy()
    pds = _pds(predictions)
    return Evidence(
        models={
            model: evaluate(target, of_model, cut_off, config.n_bootstrap, seed, config.confidence)
            for model, of_model in pds.items()
        },
        comparisons={
            model: compare(target, pds["candidate"], of_model, config.confidence)
            for model, of_model in pds.items()
            if model != "candidate"
        },
    )


def pictures(
    predictions: pd.DataFrame, evaluation: Evaluation, by_batch: pd.DataFrame, curves: pd.DataFrame | None = None
) -> dict[str, bytes]:
    """The plots of the candidate (beside the others in ROC and precision-recall), as PNGs by name.

    `by_batch` is `vintages.performance_by_batch`, drawn where there are several; `curves`, where there are any,
    `vintages.vintage_curves`.
    """
    target = predictions["target"].to_numpy()
    pds = _pds(predictions)
    over_time = {}
    if by_batch["batch"].nunique() > 1:
        over_time["Default rate by batch"] = plots.default_rate_by_batch(by_batch)
    if curves is not None:
        over_time["Vintage curves"] = plots.vintage_curves(curves)
    return {
        "ROC": plots.roc(target, pds),
        "Precision and recall": plots.precision_recall(target, pds),
        "Calibration": plots.calibration(evaluation.deciles),
        "PDs of goods and bads": plots.score_distribution(target, pds["candidate"], evaluation.cut_off),
        "Gains": plots.gains(evaluation.deciles),
        **over_time,
    }


def _pds(predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """The PDs of the models that there are, the candidate first."""
    return {
        model: predictions[model].to_numpy(dtype=np.float64) for model in MODELS if predictions[model].notna().all()
    }
