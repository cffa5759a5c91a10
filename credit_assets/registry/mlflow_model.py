"""The model as MLflow loads it (models-from-code): MLflow runs this file, nothing imports it."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPDModel(PythonModel):
    """Features in, calibrated probability of default out; texts are matched to the training's categories."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["model"])
        # The class that saved the model; noted when it was logged.
        self._model = pkgutil.resolve_name((folder / "kind").read_text()).load(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        return pd.DataFrame({"pd": self._model.pd(model_input)}, index=model_input.index)


mlflow.models.set_model(ServedPDModel())
