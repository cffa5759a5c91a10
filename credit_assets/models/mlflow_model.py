"""The model as MLflow loads it (models-from-code): MLflow runs this file, nothing imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from credit_assets.models.estimators import PDModel


class ServedPDModel(PythonModel):
    """Features in, calibrated probability of default out; words are matched to the training's categories."""

    def load_context(self, context: PythonModelContext) -> None:
        self._model = PDModel.load(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        return pd.DataFrame({"pd": self._model.pd(model_input)}, index=model_input.index)


mlflow.models.set_model(ServedPDModel())
