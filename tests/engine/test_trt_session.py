"""A session of TensorRT's engine on the stand-in of ``tests/fakes``: how it runs, and what it
reports."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from bench.errors import EngineError
from bench.model.edit import with_batch
from tests.engine.trt_models import ALL, batches, calibrate, int8_model


@pytest.mark.parametrize("version", ["8.5.1.7", "11.4.0.106"])
def test_an_open_batch_runs_within_its_profile(fake_tensorrt, engine, version, tiny, images):
    fake_tensorrt(version)
    fixed = with_batch(tiny("classifier").proto, "images", 1)
    with engine(profile=[1, 2, 4]).build(fixed) as session:
        assert [len(session.run(images(n))[0]) for n in (1, 3, 1, 4)] == [1, 3, 1, 4]
        with pytest.raises(EngineError, match=r"does not take an input of shape \(5, 3, 16, 16\)"):
            session.run(images(5))


@pytest.mark.parametrize("ranges", ["cache", "dynamic"])
def test_an_open_batch_runs_in_implicit_int8_with_the_profile_to_calibrate_with(
    ranges, fake_tensorrt, engine, tiny, quantize, images, monkeypatch
):
    trt = fake_tensorrt()
    configs: list[Any] = []
    real = trt.Builder.build_serialized_network

    def build(self: Any, network: Any, config: Any) -> Any:
        configs.append(config)
        return real(self, network, config)

    monkeypatch.setattr(trt.Builder, "build_serialized_network", build)
    model = int8_model(quantize(tiny("classifier"), placement="implicit"))
    with engine(mode="implicit", ranges=ranges, profile=[1, 2, 4]).build_int8(model) as session:
        assert [len(session.run(images(n))[0]) for n in (1, 4)] == [1, 4]
    (config,) = configs
    assert config._profile is not None
    told = config._profile if ranges == "cache" else None
    assert getattr(config, "_calibration_profile", None) is told


@pytest.mark.parametrize(
    ("asked", "batch", "recorded"),
    [(None, 1, True), (None, 2, False), (True, 2, True), (False, 1, False)],
)
def test_a_graph_is_recorded_once_and_gives_the_same(
    fake_tensorrt, engine, tiny, images, asked, batch, recorded
):
    """At batch 1 as it comes: there a fast GPU runs kernels sooner than they are launched."""
    fake_tensorrt()
    model = with_batch(tiny("classifier").proto, "images", batch)
    with engine(cuda_graphs=False).build(model) as session:
        expected = [session.run(images(batch, seed=seed))[0] for seed in (1, 2)]
    runtime = importlib.import_module("cuda.bindings.runtime")
    before = runtime.launched
    with engine(cuda_graphs=asked).build(model) as session:
        found = [session.run(images(batch, seed=seed))[0] for seed in (1, 2)]
        assert runtime.launched == before + 2 * recorded
        assert session.device_times().graph == recorded
    np.testing.assert_array_equal(found, expected)


def test_an_engine_that_cannot_be_recorded_is_launched_kernel_by_kernel(
    fake_tensorrt, engine, tiny, images, monkeypatch
):
    """As one with a loop inside; only who insists on a graph is refused."""
    trt = fake_tensorrt()
    runtime = importlib.import_module("cuda.bindings.runtime")
    real = trt.IExecutionContext.execute_async_v3

    def execute(self: Any, stream_handle: int) -> bool:
        return runtime.recording is None and bool(real(self, stream_handle))

    monkeypatch.setattr(trt.IExecutionContext, "execute_async_v3", execute)
    model = with_batch(tiny("classifier").proto, "images", 1)
    with engine().build(model) as session:
        assert session.run(images())[0].shape == (1, 5)
        assert not session.device_times().graph
    assert runtime.recording is None
    insisting = engine(cuda_graphs=True)
    with insisting.build(model) as session, pytest.raises(EngineError, match="cannot run the eng"):
        session.run(images())


def test_a_closed_session_leaves_no_memory_behind(fake_tensorrt, engine, tiny, images):
    fake_tensorrt()
    runtime = importlib.import_module("cuda.bindings.runtime")
    with engine(profile=[1, 2, 4]).build(
        with_batch(tiny("residual").proto, "images", 1)
    ) as session:
        session.run(images(1))
        session.run(images(2))
    calibrate(engine(mode="implicit"), tiny("residual"), batches(2))
    assert (runtime.host, runtime.device) == ({}, {})


def test_neither_does_one_that_is_dropped(fake_tensorrt, engine, tiny, images):
    """As the FP32 session that every run is timed beside, when another model's takes its place."""
    fake_tensorrt()
    runtime = importlib.import_module("cuda.bindings.runtime")
    session = engine().build(with_batch(tiny("residual").proto, "images", 1))
    session.run(images(1))
    assert runtime.device
    del session
    assert (runtime.host, runtime.device) == ({}, {})


def test_a_shape_that_could_not_be_prepared_is_tried_again(
    fake_tensorrt, engine, tiny, images, monkeypatch
):
    fake_tensorrt()
    runtime = importlib.import_module("cuda.bindings.runtime")
    with engine().build(with_batch(tiny("residual").proto, "images", 1)) as session:
        real, left = runtime.cudaMalloc, [1]

        def malloc(size: int) -> Any:
            if not left:
                return (runtime.cudaError_t.cudaErrorInvalidValue,)
            left.pop()
            return real(size)

        monkeypatch.setattr(runtime, "cudaMalloc", malloc)
        with pytest.raises(EngineError, match="CUDA fails"):
            session.run(images(1))
        monkeypatch.setattr(runtime, "cudaMalloc", real)
        assert len(session.run(images(1))[0]) == 1


def test_what_the_engine_tells_is_in_the_description(fake_tensorrt, engine, tiny):
    fake_tensorrt()
    with engine().build(with_batch(tiny("residual").proto, "images", 1)) as session:
        facts = session.describe().facts
    assert facts is not None
    assert facts.device == "NVIDIA Test GPU, driver 550.54"
    assert facts.memory_mb == 3.0
    assert facts.engine_bytes > 1000
    assert facts.build_s > 0


def test_what_the_gpu_measures_is_told(fake_tensorrt, engine, tiny, images):
    fake_tensorrt()
    with engine().build(with_batch(tiny("residual").proto, "images", 1)) as session:
        with pytest.raises(EngineError, match="nothing to time"):
            session.device_times()
        session.run(images())
        times = session.device_times()
    assert (times.clock_mhz, times.temperature_c) == (1410, 54)
    assert 0 < times.latency_p50_ms <= times.latency_p90_ms <= times.latency_p99_ms
    assert times.enqueue_p50_ms > 0 and times.upload_p50_ms > 0 and times.download_p50_ms > 0
    assert times.throughput > 0


def test_a_gpu_that_tells_no_temperature_costs_no_row(
    fake_tensorrt, engine, tiny, images, monkeypatch
):
    """As virtual ones do not."""
    fake_tensorrt()
    pynvml = importlib.import_module("pynvml")

    def fail(handle: object, kind: object) -> None:
        raise pynvml.NVMLError("Not Supported")

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", fail)
    with engine().build(with_batch(tiny("residual").proto, "images", 1)) as session:
        session.run(images())
        times = session.device_times()
    assert (times.clock_mhz, times.temperature_c) == (1410, None)


@pytest.mark.parametrize("version", ALL)
def test_profilers_are_told_nothing_while_it_runs(
    version, fake_tensorrt, engine, tiny, monkeypatch
):
    trt = fake_tensorrt(version)
    made, real = [], trt.ICudaEngine.create_execution_context

    def create(self: Any) -> Any:
        made.append(real(self))
        return made[-1]

    monkeypatch.setattr(trt.ICudaEngine, "create_execution_context", create)
    with engine(streams=2).build(with_batch(tiny("residual").proto, "images", 1)):
        assert [one.nvtx_verbosity for one in made] == [trt.ProfilingVerbosity.NONE] * 2


def test_every_stream_is_kept_busy_for_the_throughput(
    fake_tensorrt, engine, tiny, images, monkeypatch
):
    trt = fake_tensorrt()
    busy: set[int] = set()
    real = trt.IExecutionContext.execute_async_v3

    def execute(self: Any, stream_handle: int) -> bool:
        busy.add(stream_handle)
        return bool(real(self, stream_handle))

    monkeypatch.setattr(trt.IExecutionContext, "execute_async_v3", execute)
    with engine(streams=3).build(with_batch(tiny("residual").proto, "images", 2)) as session:
        session.run(images(2))
        assert len(busy) == 1
        assert session.device_times().throughput > 0
        assert len(busy) == 3
    runtime = importlib.import_module("cuda.bindings.runtime")
    assert (runtime.host, runtime.device) == ({}, {})


@pytest.mark.parametrize("version", ALL)
def test_the_profiler_s_times_have_our_names(version, fake_tensorrt, engine, tiny, images):
    """The stand-in's layers take 0.5 ms, 1.5 ms and so on; each has a change of format before."""
    fake_tensorrt(version)
    model, x = with_batch(tiny("residual").proto, "images", 1), images()
    with engine().build(model) as session:
        before = session.run(x)
        times = session.layer_times(x, 3)
        np.testing.assert_array_equal(session.run(x)[0], before[0])
    products = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert [one.milliseconds for one in times] == [0.5 + n for n in range(2 * len(products))]
    for name, copied, ran in zip(products, times[::2], times[1::2], strict=True):
        assert name in copied.nodes and name in ran.nodes
