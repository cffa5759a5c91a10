"""The kinds of model, a file each: how it is fitted, predicts, explains its predictions and is kept in files.

A file is a kind by its name (`training.model: xgboost` is `xgboost.py`) and holds ESTIMATOR, an `Estimator`. What all
kinds have in common is in `models/model.py`.
"""

# MLflow stored code with the models of earlier releases that imports this name from here.
from credit_assets.models.estimators.xgboost import XGBoostModel as PDModel

__all__ = ["PDModel"]
