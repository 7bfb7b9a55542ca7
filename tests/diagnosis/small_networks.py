"""Networks of a few nodes in which units of every kind stand, on images of 8 x 8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.tiny_models import Sketch

SIDE = 8


def block() -> onnx.ModelProto:
    """A depthwise convolution, a residual Add, a Gemm."""
    g = Sketch(1)
    stem = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu0")
    x = g.op("Relu", g.conv(stem, 4, 4, "depthwise", group=4), name="relu1")
    x = g.op("Relu", g.op("Add", g.conv(x, 4, 4, "pointwise", 1), stem, name="join"), name="relu2")
    return _done(g, g.classify(x, 4))


def twice() -> onnx.ModelProto:
    """Of a residual Add both inputs are the same tensor, which is an output as well, and so is what
    a convolution reads."""
    g = Sketch(2)
    x = g.conv("images", 3, 4, "stem")
    total = g.op("Add", x, x, name="total")
    return _done(g, x, total, g.conv(total, 4, 2, "last", 1))


def products() -> onnx.ModelProto:
    """A MatMul with weights, with weights that are computed from a shape, and of two activations;
    and a Gemm that adds an activation."""
    g = Sketch(3)
    x = g.op("Relu", g.conv("images", 3, 4, "stem", strides=[4, 4]), name="relu")
    tokens = g.op("Reshape", x, g.const(np.array([0, 4, 4])), name="tokens")
    mixed = g.op("MatMul", tokens, g.const(g.normal(4, 6, fan_in=4), "mix.w"), name="mix")
    shape = g.op("Slice", g.op("Shape", x, name="shape"), g.const([0]), g.const([1]), name="batch")
    wanted = g.op("Concat", shape, g.const(np.array([6, 4])), name="wanted", axis=0)
    fixed = g.op("Expand", g.const(g.normal(6, 4, fan_in=6), "fixed.w"), wanted, name="expand")
    back = g.op("MatMul", mixed, fixed, name="back")
    both = g.op("MatMul", back, tokens, name="attend")
    flat = g.op("Reshape", both, g.const(np.array([4, 4])), name="flat")
    weight = g.const(g.normal(4, 4, fan_in=4), "fc.w")
    added = g.op("Reshape", tokens, g.const(np.array([4, 4])), name="added")
    x = g.op("Gemm", flat, weight, added, name="fc")
    return _done(g, g.op("Reshape", x, g.const(np.array([1, 16])), name="out"))


def parts() -> onnx.ModelProto:
    """Under an implicit placement: a Split and a TopK, of which both outputs are read, and a
    Reshape to a shape that is computed."""
    g = Sketch(4)
    x = g.op("Relu", g.conv("images", 3, 4, "stem", strides=[2, 2]), name="relu")
    near, far = g.op("Split", x, g.const(np.array([2, 2])), name="split", outputs=2, axis=1)
    x = g.op("Mul", g.conv(near, 2, 2, "near"), far, name="mul")
    first = g.op("Gather", g.op("Shape", x, name="shape"), g.const(np.array([0])), name="first")
    wanted = g.op("Concat", first, g.const(np.array([-1])), name="wanted", axis=0)
    flat = g.op("Reshape", x, wanted, name="flat")
    best, places = g.op("TopK", flat, g.const(np.array([5])), name="best", outputs=2, axis=1)
    return _done(g, best, g.op("GatherElements", flat, places, name="again", axis=1))


def named_as_labels() -> onnx.ModelProto:
    """Tensors with the names that precisions have."""
    model = block()
    names = {"relu0_out": "int8", "relu1_out": "float", "pointwise_out": "int8_weights"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return model


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    builder.__name__: builder for builder in (block, twice, products, parts, named_as_labels)
}


def _done(g: Sketch, *outputs: str) -> onnx.ModelProto:
    return g.model(*outputs, size=(SIDE, SIDE))
