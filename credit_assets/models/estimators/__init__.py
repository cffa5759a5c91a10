"""The kinds of model, one file each: fitting, predicting, explaining predictions, and storing.

A file's name is the kind's name (`training.model: xgboost` is `xgboost.py`); it defines ESTIMATOR, an `Estimator`. The
common interface is in `models/model.py`.
"""

# Code that MLflow stored with models of earlier releases imports this name from here.
from credit_assets.models.estimators.xgboost import XGBoostModel as PDModel

__all__ = ["PDModel"]
