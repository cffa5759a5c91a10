"""Models: design matrix, search, calibration, the baseline, and their registration in MLflow. Whether a model is good
is judged in `evaluation`."""
