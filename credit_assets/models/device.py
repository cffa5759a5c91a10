"""The device that XGBoost trains on: a GPU if there is one, otherwise the CPU.

Predictions are always made on the CPU, so that a score does not depend on the machine.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Literal

CPU, CUDA = "cpu", "cuda"


def device(setting: Literal["auto", "cpu"]) -> str:
    """XGBoost's `device` for the setting `training.device`: `auto` is `cuda` if XGBoost can train on a GPU here."""
    import xgboost

    if setting == "auto" and xgboost.build_info().get("USE_CUDA") and gpus():
        return CUDA
    return CPU


def gpus() -> int:
    """The number of GPUs that Nvidia's driver offers to this process; 0 without the driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
