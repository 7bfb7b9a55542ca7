"""What the tests of TensorRT's engine share."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from bench.calibration.native import NativeCalibrator
from bench.engine.base import Int8Model
from bench.engine.trt.engine import TensorRt
from bench.engine.trt.native_calibration import calibrate_network
from bench.errors import BenchError
from bench.model.edit import with_batch

ALL = ["8.5.1.7", "8.6.0", "10.16.1.11", "11.4.0.106"]
IMPLICIT = ALL[:3]


def int8_model(quantized: Any, **changes: Any) -> Int8Model:
    fp32 = with_batch(quantized.model.proto, "images", 1)
    qdq = with_batch(quantized.proto, "images", 1)
    given = {"amax": quantized.amax, "float_nodes": frozenset(), "algorithm": None} | changes
    return Int8Model(qdq, fp32, **given)


def batches(count: int, size: int = 2, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random((size, 3, 16, 16), np.float32) for _ in range(count)]


def calibrate(engine: TensorRt, model: Any, given: Any, **options: Any) -> Any:
    """In this process, on ``count`` of the batches ``given``: all, if that is not said."""
    count = options.pop("count", None) or len(given)
    asked = NativeCalibrator(**{"algorithm": "minmax", "batch_size": 2} | options)
    fixed = with_batch(model.proto, "images", asked.batch_size)
    trt = importlib.import_module("tensorrt")
    return calibrate_network(trt, fixed, asked, iter(given), count, engine.settings)


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    assert isinstance(error.value, BenchError)
    assert "\n" not in str(error.value)
    return str(error.value)
