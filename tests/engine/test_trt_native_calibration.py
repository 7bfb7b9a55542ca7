"""Native calibration outlives the build behind it; on the stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import psutil
import pytest

from bench.calibration.native import OPEN_BATCH, NativeCalibrator
from bench.errors import BenchError, EngineError
from bench.model.edit import with_batch
from tests.engine.trt_models import batches, calibrate, one_line


def calibrate_apart(engine: Any, model: Any, given: Any, **options: Any) -> Any:
    asked = NativeCalibrator(**{"algorithm": "minmax", "batch_size": 2} | options)
    fixed = with_batch(model.proto, "images", 2)
    return engine(mode="implicit").calibrate(fixed, asked, iter(given), 2)


@pytest.fixture
def silent(load: Any, sketch: Any) -> Any:
    """A model one of whose tensors is zero throughout."""
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    down = g.op("Add", x, g.const(np.full((1, 4, 1, 1), -1e4, np.float32), "down"), name="down")
    return load(g.model(g.conv(g.op("Relu", down, name="dead"), 4, 2, "out")))


@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
def test_a_scale_of_zero_fails_the_build_and_not_the_calibration(
    fake_tensorrt: Any, engine: Any, silent: Any, apart: bool
) -> None:
    """NVIDIA/TensorRT issue 4446."""
    fake_tensorrt()
    given = batches(2)
    if apart:
        native = calibrate_apart(engine, silent, given)
    else:
        native = calibrate(engine(mode="implicit"), silent, given)
    assert native.cache.amax["dead_out"] == 0
    assert native.cache.amax["images"] == pytest.approx(max(b.max() for b in given), rel=1e-6)
    assert native.batches == 2


@pytest.mark.parametrize("algorithm", ["entropy", "legacy"])
def test_neither_does_a_layer_without_implementation(
    fake_tensorrt: Any, engine: Any, tiny: Any, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ultralytics issue 19518."""
    monkeypatch.setenv("FAKE_NO_IMPLEMENTATION", "yes")
    fake_tensorrt()
    native = calibrate(engine(mode="implicit"), tiny("residual"), batches(2), algorithm=algorithm)
    assert "images" in native.cache.words


def test_in_its_own_process_the_thresholds_are_the_same_and_nothing_is_built(
    fake_tensorrt: Any, engine: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = fake_tensorrt()
    here = calibrate(engine(mode="implicit"), tiny("residual"), batches(2))
    monkeypatch.setattr(trt, "Builder", None)  # in this process
    monkeypatch.setenv("FAKE_CRASH", "yes")  # after the cache is written
    assert calibrate_apart(engine, tiny("residual"), batches(2)).cache == here.cache


def test_a_process_that_dies_is_told(
    fake_tensorrt: Any, engine: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt()
    monkeypatch.setenv("FAKE_CRASH", "while it calibrates")
    with pytest.raises(EngineError, match=r"ended while it calibrated \(exit status -6\)") as error:
        calibrate_apart(engine, tiny("residual"), batches(2))
    one_line(error)


def test_what_is_refused_before_there_are_thresholds_is_told(
    fake_tensorrt: Any, engine: Any, build: Any, tiny: Any
) -> None:
    fake_tensorrt()
    proto = with_batch(tiny("residual").proto, "images", 2)
    proto.graph.node[0].op_type = "If"
    asked = NativeCalibrator("minmax", batch_size=2)
    with pytest.raises(EngineError, match=r"cannot parse the model .*op: If") as error:
        engine(mode="implicit").calibrate(proto, asked, iter(batches(2)), 2)
    one_line(error)


def test_an_exception_in_the_data_is_raised_whatever_process_calibrates(
    fake_tensorrt: Any, engine: Any, tiny: Any
) -> None:
    fake_tensorrt()

    def broken() -> Any:
        yield batches(1)[0]
        raise BenchError("image 17 is broken", "Delete it")

    before = psutil.Process().children()  # tests before this one may have left some
    with pytest.raises(BenchError, match="image 17 is broken"):
        calibrate_apart(engine, tiny("residual"), broken())
    assert set(psutil.Process().children()) <= set(before)


@pytest.mark.parametrize(
    ("asked", "fixed", "settled"), [(None, 1, 1), (None, None, OPEN_BATCH), (2, None, 2), (4, 1, 4)]
)
def test_the_batch_is_the_file_s_unless_one_is_asked_for(
    asked: int | None, fixed: int | None, settled: int
) -> None:
    """8 images at a time would be refused by a file with a fixed batch of 1."""
    assert NativeCalibrator("minmax", asked).for_batch(fixed).batch_size == settled
