"""What many tests share: tiny models and what is made of them, the stand-in for TensorRT."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from bench.engine.trt import cuda, device_timing
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel, load_model
from bench.quantization.plan import PrecisionPlan, QuantizationPoints, place
from bench.quantization.qdq import insert_qdq
from tests.inputs import write_inputs
from tests.tiny_models import BUILDERS, SIDE, Array, Sketch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first: a file that takes long must not be the last one that is begun."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``tiny_name`` runs once for every tiny model."""
    if "tiny_name" in metafunc.fixturenames:
        metafunc.parametrize("tiny_name", BUILDERS)


@pytest.fixture
def fake_tensorrt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """``fake_tensorrt(version="8.5.1.7", gpu=..., driver=True, capability="8.9")``: the stand-in.

    It is what ``import tensorrt`` finds until the test ends, and with version rtx-1.7.1.116 what
    stands for TensorRT for RTX; see ``tests/fakes/tensorrt``.
    """
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("fakes")))
    for name, value in (("WARM_UP_S", 0.0), ("TIMED_S", 0.0), ("LEAST_TIMED", 100)):
        monkeypatch.setattr(device_timing, name, value)  # seconds of each engine otherwise

    def install(
        version: str = "8.5.1.7",
        gpu: str = "NVIDIA Test GPU",
        driver: bool = True,
        capability: str = "8.9",
    ) -> Any:
        _forget_tensorrt()
        monkeypatch.setenv("FAKE_CAPABILITY", capability)
        monkeypatch.setenv("FAKE_TENSORRT", version)
        monkeypatch.setenv("FAKE_GPU", gpu)
        monkeypatch.setenv("FAKE_NO_DRIVER", "" if driver else "yes")
        trt = importlib.import_module("tensorrt")
        if version.startswith("rtx"):
            monkeypatch.setitem(sys.modules, "tensorrt_rtx_libs", trt)
            monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", trt)
        return trt

    yield install
    _forget_tensorrt()


def _forget_tensorrt() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in ("tensorrt", "cuda", "pynvml"):
            del sys.modules[name]
    cuda.find_gpu.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def usual_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test caches without naming a folder does not go to the user's, and runs of other test
    processes are not waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("usual-cache")))
        yield


@pytest.fixture(scope="session")
def sketch() -> type[Sketch]:
    """For a graph that only one test needs."""
    return Sketch


@pytest.fixture(scope="session")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is known of this machine's int8 kernels, for all processes of these tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "probes"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and images, good and bad, under one folder; see ``tests/inputs.py``."""
    folder = tmp_path_factory.mktemp("files")
    write_inputs(folder, Sketch)
    return folder


@pytest.fixture(scope="session")
def build() -> Callable[..., onnx.ModelProto]:
    """``build(name, **options)``: a tiny model as exported; the options are ``Sketch.model``'s."""
    return lambda name, **options: BUILDERS[name](**options)


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[onnx.ModelProto], OnnxModel]:
    """Write a model to a file and load it as the harness does."""

    def write_and_load(proto: onnx.ModelProto) -> OnnxModel:
        path = tmp_path_factory.mktemp("models") / "tiny.onnx"
        onnx.save(proto, path)
        return load_model(path)

    return write_and_load


@pytest.fixture(scope="session")
def tiny(load: Callable[[onnx.ModelProto], OnnxModel]) -> Callable[[str], OnnxModel]:
    """``tiny(name)``: a tiny model, loaded once for all tests. Nobody may change its proto."""
    loaded: dict[str, OnnxModel] = {}

    def get(name: str) -> OnnxModel:
        if name not in loaded:
            loaded[name] = load(BUILDERS[name]())
        return loaded[name]

    return get


def run_onnx(proto: onnx.ModelProto, batch: Array, optimized: bool = True) -> list[Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # Its int8 kernels saturate on some processors; Q/DQ by themselves do not.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {"images": batch}))


@pytest.fixture(scope="session")
def run_in_onnxruntime() -> Callable[..., list[Array]]:
    """``run(proto, batch, optimized=True)``: ONNX Runtime's outputs, without ``bench``."""
    return run_onnx


@pytest.fixture(scope="session")
def images() -> Callable[..., Array]:
    """``images(count, seed=0)``: random input for a tiny model, in [0, 1]."""

    def draw(count: int = 1, seed: int = 0, side: int = SIDE) -> Array:
        return np.random.default_rng(seed).random((count, 3, side, side), np.float32)

    return draw


@pytest.fixture(scope="session")
def sqnr() -> Callable[[list[Array], list[Array]], float]:
    """The worst output's signal to noise ratio in dB."""

    def worst(expected: list[Array], found: list[Array]) -> float:
        ratios = []
        for e, f in zip(expected, found, strict=True):
            assert e.shape == f.shape
            noise = float(np.square(e.astype(np.float64) - f).sum())
            signal = float(np.square(e.astype(np.float64)).sum())
            ratios.append(np.inf if noise == 0 else 10 * np.log10(signal / noise))
        return float(min(ratios))

    return worst


@dataclass(frozen=True)
class Quantized:
    """A model, what was decided about it, and what came out."""

    model: OnnxModel
    graph: Graph
    points: QuantizationPoints
    amax: dict[str, float]
    proto: onnx.ModelProto

    def node(self, name: str) -> onnx.NodeProto:
        return next(node for node in self.proto.graph.node if node.name == name)

    def producer(self, tensor: str) -> onnx.NodeProto:
        return next(node for node in self.proto.graph.node if tensor in node.output)

    def stored(self, name: str) -> np.ndarray[Any, Any]:
        found = next(t for t in self.proto.graph.initializer if t.name == name)
        return numpy_helper.to_array(found)

    def dequantize(self, tensor: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """What a DequantizeLinear of a weight reads: int8 values, scales, zero points, axis."""
        node = self.producer(tensor)
        assert node.op_type == "DequantizeLinear"
        values, scales, zeros = (self.stored(name) for name in node.input)
        return values, scales, zeros, next(a.i for a in node.attribute if a.name == "axis")


@pytest.fixture(scope="session")
def quantize(run_in_onnxruntime, images) -> Callable[..., Quantized]:
    """``quantize(model, plan=(), placement="explicit")`` with minmax ranges of four images."""

    def make(
        model: OnnxModel, plan: tuple[str, ...] = (), placement: Any = "explicit"
    ) -> Quantized:
        graph = Graph(model)
        points = place(PrecisionPlan("test", plan), placement, graph)
        proto = onnx.ModelProto()
        proto.CopyFrom(model.proto)
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name)
            for name in points.sources
            if name not in ("images", *model.output_names)
        )
        amax = dict.fromkeys(points.sources, 0.0)
        for seed in range(4):
            x = images(seed=seed)
            found = run_in_onnxruntime(proto, x)
            values = dict(zip([o.name for o in proto.graph.output], found, strict=True))
            values["images"] = x
            amax = {name: max(a, float(np.abs(values[name]).max())) for name, a in amax.items()}
        return Quantized(model, graph, points, amax, insert_qdq(model, graph, points, amax))

    return make
