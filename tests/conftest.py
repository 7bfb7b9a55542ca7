"""Small ONNX models that show, in a few nodes each, what real ones are made of."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.engine.trt import cuda
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel, load_model
from bench.quantization.plan import PrecisionPlan, QuantizationPoints, place
from bench.quantization.qdq import insert_qdq
from tests.inputs import write_inputs

Array = npt.NDArray[np.float32]
SIDE = 16


class Sketch:
    """A graph drawn node by node; each call returns the name of the tensor that it makes."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(
        self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any
    ) -> Any:
        name = name or f"{kind.lower()}{len(self.nodes)}"
        made = [f"{name}_out"] if outputs == 1 else [f"{name}_out{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=name, **attributes))
        return made[0] if outputs == 1 else made

    def const(self, values: npt.ArrayLike, name: str = "") -> str:
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = name or f"const{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def normal(self, *shape: int, fan_in: int = 1) -> Array:
        return (self.rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)

    def conv(self, x: str, c_in: int, c_out: int, name: str, k: int = 3, **attributes: Any) -> str:
        """A convolution with a bias that keeps the size (``strides`` aside)."""
        shape = (c_out, c_in // attributes.get("group", 1), k, k)
        weight = self.const(self.normal(*shape, fan_in=shape[1] * k * k), f"{name}.w")
        bias = self.const(self.normal(c_out) * 0.1, f"{name}.b")
        attributes.setdefault("pads", [k // 2] * 4)
        return self.op("Conv", x, weight, bias, name=name, **attributes)

    def silu(self, x: str, name: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x, name=f"{name}_sigmoid"), name=name)

    def classify(self, x: str, channels: int, classes: int = 5) -> str:
        flat = self.op("Flatten", self.op("GlobalAveragePool", x, name="pool"), name="flatten")
        weight = self.const(self.normal(classes, channels, fan_in=channels), "fc.w")
        bias = self.const(self.normal(classes) * 0.1, "fc.b")
        return self.op("Gemm", flat, weight, bias, name="fc", transB=1)

    def model(
        self,
        *outputs: str,
        batch: int | str = "N",
        size: tuple[int | str, int | str] = (SIDE, SIDE),
        channels: int = 3,
        opset: int = 17,
        elem_type: int = TensorProto.FLOAT,
    ) -> onnx.ModelProto:
        images = helper.make_tensor_value_info("images", elem_type, [batch, channels, *size])
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [images],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            self.weights,
        )
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)  # types of the outputs
        del model.graph.value_info[:]
        return model


def classifier(**options: Any) -> onnx.ModelProto:
    """Conv, Relu, Conv with stride, Relu, pool, Gemm."""
    g = Sketch(1)
    x = g.op("Relu", g.conv("images", 3, 8, "stem"), name="relu1")
    x = g.op("Relu", g.conv(x, 8, 16, "down", strides=[2, 2]), name="relu2")
    return g.model(g.classify(x, 16), **options)


def residual(**options: Any) -> onnx.ModelProto:
    """A basic block: the Add joins the stem's activation and the second convolution's output."""
    g = Sketch(2)
    stem = g.op("Relu", g.conv("images", 3, 8, "stem"), name="relu0")
    x = g.op("Relu", g.conv(stem, 8, 8, "block1"), name="relu1")
    x = g.op("Add", g.conv(x, 8, 8, "block2"), stem, name="join")
    x = g.op("Relu", x, name="relu2")
    return g.model(g.classify(x, 8), **options)


def silu_concat(**options: Any) -> onnx.ModelProto:
    """Signed activations meet in a Concat, and a convolution reads it."""
    g = Sketch(3)
    x = g.silu(g.conv("images", 3, 8, "stem"), "silu0")
    left = g.silu(g.conv(x, 8, 8, "left", 1), "silu1")
    right = g.silu(g.conv(x, 8, 8, "right"), "silu2")
    x = g.op("Concat", left, right, name="concat", axis=1)
    return g.model(g.conv(g.silu(g.conv(x, 16, 8, "fuse"), "silu3"), 8, 4, "out", 1), **options)


def depthwise(**options: Any) -> onnx.ModelProto:
    """An inverted residual without its Add, with ReLU6."""
    g = Sketch(4)
    low, high = g.const(np.float32(0)), g.const(np.float32(6))
    x = g.op("Clip", g.conv("images", 3, 8, "stem"), low, high, name="relu6_1")
    x = g.op("Clip", g.conv(x, 8, 8, "depthwise", group=8), low, high, name="relu6_2")
    x = g.op("Clip", g.conv(x, 8, 16, "pointwise", 1), low, high, name="relu6_3")
    return g.model(g.classify(x, 16), **options)


def distribution(**options: Any) -> onnx.ModelProto:
    """YOLOv8's tail: distributions of distances, a fixed 1-channel Conv, boxes around anchors.

    Two classes, one stride of 8, four anchors: the output is N x 6 x 4.
    """
    g = Sketch(5)
    x = g.silu(g.conv("images", 3, 8, "stem", strides=[4, 4]), "silu0")
    x = g.silu(g.conv(x, 8, 8, "neck", strides=[2, 2]), "silu1")
    flat = g.const(np.array([0, 64, 4]))
    box = g.op("Reshape", g.conv(x, 8, 64, "box_out", 1), flat, name="box_flat")
    box = g.op("Reshape", box, g.const(np.array([0, 4, 16, 4])), name="box_bins")
    box = g.op("Transpose", box, name="box_turn", perm=[0, 2, 1, 3])
    box = g.op("Softmax", box, name="softmax", axis=1)
    fixed = g.const(np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1), "dfl.w")
    box = g.op("Conv", box, fixed, name="dfl")
    box = g.op("Reshape", box, g.const(np.array([0, 4, 4])), name="distances")
    halves = g.const(np.array([2, 2]))
    near, far = g.op("Split", box, halves, name="halves", outputs=2, axis=1)
    anchors = g.const(np.array([[[0.5, 1.5, 0.5, 1.5], [0.5, 0.5, 1.5, 1.5]]], np.float32))
    low = g.op("Sub", anchors, near, name="low")
    high = g.op("Add", anchors, far, name="high")
    both = g.op("Add", low, high, name="sum_of_corners")
    centre = g.op("Div", both, g.const(np.float32(2)), name="centre")
    span = g.op("Sub", high, low, name="span")
    boxes = g.op("Concat", centre, span, name="boxes", axis=1)
    boxes = g.op("Mul", boxes, g.const(np.float32(8)), name="pixels")
    scores = g.op("Reshape", g.conv(x, 8, 2, "class_out", 1), g.const(np.array([0, 2, 4])))
    scores = g.op("Sigmoid", scores, name="scores")
    return g.model(g.op("Concat", boxes, scores, name="all", axis=1), **options)


def old_opset(**options: Any) -> onnx.ModelProto:
    """Opset 11, a BatchNormalization behind its convolution, Constant nodes."""
    g = Sketch(6)
    x = g.conv("images", 3, 8, "stem")
    facts = [g.const(np.abs(g.normal(8)) + 0.5) for _ in range(4)]
    x = g.op("BatchNormalization", x, *facts, name="norm")
    half = g.op("Constant", name="half", value=numpy_helper.from_array(np.float32([0.5])))
    x = g.op("Relu", g.op("Add", x, half, name="shift"), name="relu")
    shape = g.op("Constant", name="shape", value=numpy_helper.from_array(np.array([0, 8, -1])))
    x = g.op("Reshape", x, shape, name="flat")
    x = g.op("ReduceMean", x, name="mean", axes=[2], keepdims=0)
    weight = g.const(g.normal(5, 8, fan_in=8), "fc.w")
    bias = g.const(g.normal(5), "fc.b")
    return g.model(g.op("Gemm", x, weight, bias, name="fc", transB=1), **({"opset": 11} | options))


def matmul(**options: Any) -> onnx.ModelProto:
    """Tokens through a MatMul with weights, then a MatMul of two activations."""
    g = Sketch(7)
    x = g.op("Relu", g.conv("images", 3, 8, "stem", strides=[4, 4]), name="relu")
    x = g.op("Reshape", x, g.const(np.array([0, 8, 16])), name="flat")
    tokens = g.op("Transpose", x, name="tokens", perm=[0, 2, 1])
    weight = g.const(g.normal(8, 12, fan_in=8), "mix.w")
    mixed = g.op("MatMul", tokens, weight, name="mix")
    turned = g.op("Transpose", mixed, name="turned", perm=[0, 2, 1])
    return g.model(g.op("MatMul", turned, mixed, name="attend"), **options)


def gemm_untransposed(**options: Any) -> onnx.ModelProto:
    """Gemm with transB=0, its weight as inputs x outputs."""
    g = Sketch(8)
    x = g.op("Relu", g.conv("images", 3, 8, "stem"), name="relu")
    x = g.op("Flatten", g.op("GlobalAveragePool", x, name="pool"), name="flatten")
    weight = g.const(g.normal(8, 6, fan_in=8), "fc.w")
    return g.model(g.op("Gemm", x, weight, g.const(g.normal(6), "fc.b"), name="fc"), **options)


def upsampling(**options: Any) -> onnx.ModelProto:
    """A ConvTranspose, whose weight is inputs x outputs x k x k."""
    g = Sketch(9)
    x = g.op("Relu", g.conv("images", 3, 8, "stem", strides=[2, 2]), name="relu")
    weight = g.const(g.normal(8, 4, 2, 2, fan_in=8), "up.w")
    bias = g.const(g.normal(4) * 0.1, "up.b")
    return g.model(g.op("ConvTranspose", x, weight, bias, name="up", strides=[2, 2]), **options)


BUILDERS: dict[str, Callable[..., onnx.ModelProto]] = {
    builder.__name__: builder
    for builder in (
        classifier, residual, silu_concat, depthwise, distribution, old_opset, matmul,
        gemm_untransposed, upsampling,
    )
}  # fmt: skip


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
        del proto.graph.output[:]
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in points.tensors if name != "images"
        )
        amax = dict.fromkeys(points.tensors, 0.0)
        for seed in range(4):
            x = images(seed=seed)
            found = run_in_onnxruntime(proto, x) if proto.graph.output else []
            values = dict(zip([o.name for o in proto.graph.output], found, strict=True))
            values["images"] = x
            amax = {name: max(a, float(np.abs(values[name]).max())) for name, a in amax.items()}
        return Quantized(model, graph, points, amax, insert_qdq(model, graph, points, amax))

    return make
