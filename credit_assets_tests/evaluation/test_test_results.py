"""What is computed from the predictions table: every model on the same rows, with the candidate's cut-off."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from credit_assets.evaluation.test_results import evaluate_models, pictures
from credit_assets.settings.evaluation import EvaluationConfig

CONFIG = EvaluationConfig(n_bootstrap=100)


def predictions(champion: bool) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    risk = rng.uniform(0.02, 0.5, 400)
    return pd.DataFrame(
        {
            "target": (rng.random(400) < risk).astype(int),
            "candidate": risk,
            "baseline": np.clip(risk + rng.normal(0, 0.15, 400), 0.001, 0.999),
            "champion": np.clip(risk + rng.normal(0, 0.05, 400), 0.001, 0.999) if champion else np.nan,
        }
    )


def by_batch(batches: list[str]) -> pd.DataFrame:
    figures = {"default_rate": 0.1, "default_rate_low": 0.05, "default_rate_high": 0.2, "mean_pd": 0.11}
    return pd.DataFrame({"batch": batches, "fold": "held out"}).assign(**figures)


def test_candidate_is_compared_with_the_baseline_without_a_champion():
    evidence = evaluate_models(predictions(champion=False), 0.3, CONFIG, seed=1)
    assert list(evidence.models) == ["candidate", "baseline"]
    assert list(evidence.comparisons) == ["baseline"]


def test_every_model_is_evaluated_on_the_same_rows_with_one_cut_off():
    rows = predictions(champion=True)
    evidence = evaluate_models(rows, 0.3, CONFIG, seed=1)
    assert list(evidence.models) == ["candidate", "baseline", "champion"]
    for model, evaluation in evidence.models.items():
        assert evaluation.cut_off == 0.3
        assert evaluation.applicants == len(rows)
        assert evaluation.metrics["auc"].value == pytest.approx(roc_auc_score(rows["target"], rows[model]))
    assert evidence.candidate is evidence.models["candidate"]


def test_comparison_with_the_champion_is_of_both_aucs():
    rows = predictions(champion=True)
    found = evaluate_models(rows, 0.3, CONFIG, seed=1).comparisons["champion"]
    aucs = [roc_auc_score(rows["target"], rows[model]) for model in ("candidate", "champion")]
    assert [found.auc_candidate, found.auc_champion] == pytest.approx(aucs)
    assert found.auc_difference.value == pytest.approx(aucs[0] - aucs[1])


def test_metrics_table_has_one_row_per_model_and_metric():
    evidence = evaluate_models(predictions(champion=True), 0.3, CONFIG, seed=1)
    table = evidence.metrics()
    assert not table.duplicated(["model", "metric"]).any()
    assert table.groupby("model")["metric"].apply(set).map(len).tolist() == [8, 8, 8]
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_same_seed_gives_the_same_intervals():
    rows = predictions(champion=False)
    pd.testing.assert_frame_equal(
        evaluate_models(rows, 0.3, CONFIG, seed=1).metrics(),
        evaluate_models(rows, 0.3, CONFIG, seed=1).metrics(),
        check_exact=True,
    )


def test_rows_of_a_single_outcome_are_refused():
    with pytest.raises(ValueError, match=r"outcome|default|goods|bads|class"):
        evaluate_models(predictions(champion=False).assign(target=0), 0.3, CONFIG, seed=1)


def test_plots_are_small_pngs():
    rows = predictions(champion=True)
    evaluation = evaluate_models(rows, 0.3, CONFIG, seed=1).candidate
    several = by_batch(["a", "b"])
    drawn = pictures(rows, evaluation, several)
    always = {"ROC", "Precision and recall", "Calibration", "PDs of goods and bads", "Gains"}
    assert set(drawn) == always | {"Default rate by batch"}
    assert set(pictures(rows, evaluation, several[:1])) == always
    curves = pd.DataFrame({"batch": "a", "months_on_book": [0, 1], "loans": 5, "defaulted": [0.0, 0.2]})
    drawn = pictures(rows, evaluation, several, curves)
    assert set(drawn) == always | {"Default rate by batch", "Vintage curves"}
    for png in drawn.values():
        assert png.startswith(b"\x89PNG")
        assert len(png) < 200_000


def test_champion_is_compared_on_the_rows_with_its_pds():
    rows = predictions(champion=True)
    rows.loc[::3, "champion"] = np.nan
    new = rows[rows["champion"].notna()]
    evidence = evaluate_models(rows, 0.3, CONFIG, seed=1)
    assert evidence.candidate.applicants == evidence.comparisons["baseline"].applicants == len(rows)
    found = evidence.comparisons["champion"]
    assert found.applicants == evidence.models["champion"].applicants == len(new) < len(rows)
    aucs = [roc_auc_score(new["target"], new[model]) for model in ("candidate", "champion")]
    assert [found.auc_candidate, found.auc_champion] == pytest.approx(aucs)
    alone = evaluate_models(predictions(champion=False), 0.3, CONFIG, seed=1)
    assert evidence.candidate.metrics == alone.candidate.metrics
    assert pictures(rows, evidence.candidate, by_batch(["a"]))["ROC"].startswith(b"\x89PNG")
