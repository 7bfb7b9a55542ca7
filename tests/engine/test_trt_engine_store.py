"""TensorRT's engines on disk, and what the builder is told besides the model; on the stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.model.edit import with_batch
from tests.engine.trt_models import int8_model


@pytest.fixture
def builds(monkeypatch):
    """How many engines TensorRT has built: a list that grows."""
    made: list[str] = []

    def count(trt: Any) -> None:
        real = trt.Builder.build_serialized_network

        def build(self: Any, network: Any, config: Any) -> Any:
            made.append(trt.__version__)
            return real(self, network, config)

        trt.Builder.build_serialized_network = build

    return made, count


def test_an_engine_is_built_once_and_keeps_its_seconds(fake_tensorrt, engine, tiny, builds, images):
    made, count = builds
    count(fake_tensorrt())
    model = with_batch(tiny("residual").proto, "images", 1)
    seconds = []
    for _ in range(2):
        with engine().build(model) as session:
            session.run(images())
            seconds.append(session.describe().facts.build_s)
    assert len(made) == 1
    assert seconds[0] == seconds[1] > 0


@pytest.mark.parametrize(
    "change",
    [
        {"version": "8.6.0"},
        {"gpu": "NVIDIA Other GPU"},
        {"options": {"workspace_gb": 2.0}},
        {"batch": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_makes_another_engine_makes_it_anew(fake_tensorrt, engine, tiny, builds, change):
    made, count = builds
    model = tiny("residual").proto
    count(fake_tensorrt())
    with engine().build(with_batch(model, "images", 1)):
        pass
    told = {key: value for key, value in change.items() if key in ("version", "gpu")}
    count(fake_tensorrt(**told))
    fixed = with_batch(model, "images", change.get("batch", 1))
    with engine(**change.get("options", {})).build(fixed):
        pass
    assert len(made) == 2


@pytest.mark.parametrize(
    "options", [{"streams": 2}, {"cuda_graphs": True}, {"cuda_graphs": False}], ids=str
)
def test_how_an_engine_is_run_makes_no_other(fake_tensorrt, engine, tiny, builds, images, options):
    made, count = builds
    count(fake_tensorrt())
    for chosen in (engine(), engine(**options)):
        with chosen.build(with_batch(tiny("residual").proto, "images", 1)) as session:
            session.run(images())
    assert len(made) == 1


def test_fp16_beside_int8_is_another_engine_but_not_beside_fp32(
    fake_tensorrt, engine, tiny, quantize, builds
):
    """Both values of half in one sweep share the FP32 and FP16 engines they are compared with."""
    made, count = builds
    count(fake_tensorrt())
    model = int8_model(quantize(tiny("residual")))
    for half in (True, False):
        chosen = engine(half=half)
        for make, given in (
            (chosen.build, model.fp32), (chosen.build_fp16, model.fp32), (chosen.build_int8, model)
        ):  # fmt: skip
            with make(given):
                pass
    assert len(made) == 4


def test_implicit_engines_differ_by_ranges_and_plan(fake_tensorrt, engine, tiny, quantize, builds):
    made, count = builds
    count(fake_tensorrt())
    quantized = quantize(tiny("residual"), placement="implicit")
    wider = {name: 2 * amax for name, amax in quantized.amax.items()}
    for changes in ({}, {"amax": wider}, {"float_nodes": frozenset({"stem"})}, {}):
        with engine(mode="implicit").build_int8(int8_model(quantized, **changes)):
            pass
    assert len(made) == 3


def test_a_damaged_engine_is_built_anew(fake_tensorrt, engine, tiny, builds, tmp_path, images):
    made, count = builds
    count(fake_tensorrt())
    model = with_batch(tiny("residual").proto, "images", 1)
    with engine().build(model) as session:
        expected = session.run(images())
    (path,) = (tmp_path / "tensorrt").glob("*.engine")
    path.write_bytes(path.read_bytes()[:-20])
    with engine().build(model) as session:
        np.testing.assert_array_equal(session.run(images())[0], expected[0])
    assert len(made) == 2


def test_an_extreme_option_reaches_the_builder(fake_tensorrt, engine, tiny, monkeypatch):
    trt = fake_tensorrt("8.6.0")
    seen = {}
    real = trt.Builder.build_serialized_network

    def build(self: Any, network: Any, config: Any) -> Any:
        seen.update(vars(config))
        return real(self, network, config)

    trt.Builder.build_serialized_network = build
    sources = ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"]
    chosen = engine(workspace_gb=0.5, optimization_level=5, tactic_sources=sources)
    with chosen.build(with_batch(tiny("residual").proto, "images", 1)):
        pass
    assert seen["_limits"] == {"WORKSPACE": 2**29}
    assert seen["builder_optimization_level"] == 5
    assert seen["_sources"] == sum(1 << int(trt.TacticSource[name]) for name in sources)
    assert "TF32" not in seen["_flags"]


def test_timings_are_kept_for_the_next_build(fake_tensorrt, engine, tiny, tmp_path):
    trt = fake_tensorrt()
    given = []
    real = trt.IBuilderConfig.create_timing_cache

    def create(self: Any, serialized_timing_cache: bytes) -> Any:
        given.append(bytes(serialized_timing_cache))
        return real(self, serialized_timing_cache)

    trt.IBuilderConfig.create_timing_cache = create
    for name in ("residual", "classifier"):
        with engine().build(with_batch(tiny(name).proto, "images", 1)):
            pass
    assert given == [b"", b"timings"]
