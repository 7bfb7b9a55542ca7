"""Small ONNX models that show, in a few nodes each, what real ones are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

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
