"""The device that models are trained on. No GPU is needed: the driver is replaced by one that reports what is asked."""

from __future__ import annotations

import ctypes

import pytest
import xgboost

from credit_assets.models import device as device_module
from credit_assets.models.device import device, gpus
from credit_assets.models.folds import xgboost_params


class Driver:
    """Nvidia's driver with this number of GPUs; `error` is returned by both calls."""

    def __init__(self, count: int, error: int = 0) -> None:
        self.count, self.error = count, error

    def cuInit(self, flags: int) -> int:
        return self.error

    def cuDeviceGetCount(self, count) -> int:
        count._obj.value = self.count
        return self.error


def driver(monkeypatch: pytest.MonkeyPatch, found: Driver | None) -> None:
    def load(name: str) -> Driver:
        if found is None:
            raise OSError(f"{name}: cannot open shared object file")
        return found

    monkeypatch.setattr(ctypes, "CDLL", load)


@pytest.mark.parametrize(("found", "number"), [(None, 0), (Driver(0), 0), (Driver(2), 2), (Driver(1, error=100), 0)])
def test_gpus_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch, found: Driver | None, number: int) -> None:
    driver(monkeypatch, found)
    assert gpus() == number


def test_auto_uses_a_gpu_if_there_is_one_and_xgboost_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for with_cuda, number, expected in [(True, 1, "cuda"), (True, 0, "cpu"), (False, 1, "cpu")]:
        monkeypatch.setattr(xgboost, "build_info", lambda with_cuda=with_cuda: {"USE_CUDA": with_cuda})
        monkeypatch.setattr(device_module, "gpus", lambda number=number: number)
        assert device("auto") == expected
        assert device("cpu") == "cpu"


def test_parameters_on_the_cpu_do_not_name_the_device() -> None:
    assert "device" not in xgboost_params({}, 1, 1)
    assert xgboost_params({}, 1, 1, "cuda")["device"] == "cuda"
