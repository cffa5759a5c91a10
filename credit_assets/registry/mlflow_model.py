"""The model that MLflow loads (models-from-code): MLflow executes this file, nothing imports it."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPDModel(PythonModel):
    """Predicts the calibrated probability of default from features; text is matched to the training's categories."""

    def load_context(self, context: PythonModelContext) -> None:
        # Resolved by name: `registry` must not import `models`.
        read_model = pkgutil.resolve_name("credit_assets.models.model:read_model")
        self._model = read_model(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        return pd.DataFrame({"pd": self._model.pd(model_input)}, index=model_input.index)


mlflow.models.set_model(ServedPDModel())
