"""TensorRT's own calibrators: fed in order, checked afterwards; on the stand-in."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from bench.calibration.trt_cache import from_ranges
from bench.errors import BenchError, EngineError
from tests.engine.trt_models import IMPLICIT, batches, calibrate, int8_model, one_line


@pytest.mark.parametrize("version", IMPLICIT)
@pytest.mark.parametrize("algorithm", ["minmax", "entropy", "entropy2", "legacy"])
def test_a_native_calibrator_reads_the_set_in_order(
    version, algorithm, fake_tensorrt, engine, tiny, monkeypatch
):
    fake_tensorrt(version)
    seen = []
    emulation = importlib.import_module("tensorrt.emulation")
    real = emulation.Network.run

    def run(self: Any, x: np.ndarray) -> Any:
        seen.append(x.copy())
        return real(self, x)

    monkeypatch.setattr(emulation.Network, "run", run)
    given = batches(3)
    native = calibrate(engine(mode="implicit"), tiny("residual"), given, algorithm=algorithm)
    np.testing.assert_array_equal(np.concatenate(seen), np.concatenate(given))
    assert native.batches == 3
    assert native.cache.header == {
        "minmax": "{}-MinMaxCalibration",
        "entropy": "{}-EntropyCalibration",
        "entropy2": "{}-EntropyCalibration2",
        "legacy": "{}-LegacyCalibration",
    }[algorithm].format({"8.5.1.7": "TRT-8501", "8.6.0": "TRT-8600"}.get(version, "TRT-101601"))
    largest = max(float(batch.max()) for batch in given)
    share = {"minmax": 1, "entropy": 0.8, "entropy2": 0.9, "legacy": 0.9999}[algorithm]
    assert native.cache.amax["images"] == pytest.approx(share * largest, rel=1e-6)
    assert native.collect_s > 0 and native.threshold_s >= 0


def broken_after(count: int) -> Any:
    yield from batches(count)
    raise BenchError("image 17 is broken", "Delete it")


@pytest.mark.parametrize("whole", [0, 1])
def test_an_exception_in_the_data_is_raised_after_the_build(fake_tensorrt, engine, tiny, whole):
    """Also one in the very first batch, where the build fails too."""
    fake_tensorrt()
    with pytest.raises(BenchError, match="image 17 is broken"):
        calibrate(engine(mode="implicit"), tiny("residual"), broken_after(whole), count=3)


def test_a_batch_larger_than_the_network_s_is_refused(fake_tensorrt, engine, tiny):
    fake_tensorrt()
    with pytest.raises(EngineError, match=r"shape \(4, 3, 16, 16\), the network takes \(2,"):
        calibrate(engine(mode="implicit"), tiny("residual"), batches(2, size=4))


def test_fewer_batches_than_asked_for_are_told(fake_tensorrt, engine, tiny):
    fake_tensorrt()
    with pytest.raises(EngineError, match="read 2 of 5 calibration batches"):
        calibrate(engine(mode="implicit"), tiny("residual"), batches(2), count=5)


def test_a_cache_that_is_not_taken_is_told(fake_tensorrt, engine, tiny, quantize, monkeypatch):
    """TensorRT would calibrate again, on nothing."""
    fake_tensorrt()
    monkeypatch.setattr(
        "bench.engine.trt.native_calibrator.from_ranges",
        lambda ranges, version, header: from_ranges(ranges, "8.4.0", header),
    )
    model = int8_model(quantize(tiny("residual"), placement="implicit"))
    with pytest.raises(EngineError, match="did not take the ranges") as error:
        engine(mode="implicit").build_int8(model)
    assert "engine.ranges=dynamic" in one_line(error)


def test_native_ranges_are_handed_back_under_their_own_algorithm(
    fake_tensorrt, engine, tiny, quantize
):
    trt = fake_tensorrt()
    native = calibrate(engine(mode="implicit"), tiny("residual"), batches(2), algorithm="legacy")
    used = []
    real = trt.IInt8LegacyCalibrator.__init__

    def note(self: Any) -> None:
        used.append("legacy")
        real(self)

    trt.IInt8LegacyCalibrator.__init__ = note
    quantized = quantize(tiny("residual"), placement="implicit")
    model = int8_model(quantized, amax=native.cache.ranges(), algorithm=native.cache.algorithm)
    with engine(mode="implicit").build_int8(model):
        pass
    assert used == ["legacy"]
