"""Small Q/DQ networks that are the worst case for int8 kernels; their results are exact integers.

Inputs and weights lie mostly at the ends of their grids, where the sum of two products leaves
int16. All scales are powers of two, and every sum of products stays below 2^24 of its steps: so
float32 holds each intermediate value exactly, in whatever order it is added up, and the reference
evaluation by NumPy (``onnx.reference``) is integer arithmetic to the last bit. (Networks with a
Sigmoid and those all in float are not exact: there the probe allows for rounding.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bench.engine.base import Array
from bench.quantization.grid import Scheme

_OPSET, _REFERENCE_OPSET = 17, 19  # the reference evaluation has no Q/DQ of an older one
_SIDE = 6
_ZERO = np.int8(0)
_INPUT_SCALE = 2.0**-5
_WEIGHT_SCALES = (2.0**-7, 2.0**-6)  # of output channels in turn
_TAILS = (3, 17, 33, 64)
"""Numbers of channels: fewer than a vector register holds, one more, and all of it."""


@dataclass(frozen=True, eq=False)
class ProbeNetwork:
    """One case: a model with one input and one output, a batch for it and the exact result.

    ``step`` is that of the network's last quantization, in the output's unit. Where all layers are
    in float it is 4e-5 of the largest output: a sum in float32 has a tenth of this error, a sum of
    FP16, TF32 or bfloat16 values ten times this error.
    ``product`` names the node that an engine's int8 kernel is to compute; None where the case is
    about a layer that stays in float.
    """

    name: str
    model: onnx.ModelProto
    batch: Array
    expected: Array
    step: float
    product: str | None
    scheme: Scheme = "symmetric"


def probe_networks() -> Iterator[ProbeNetwork]:
    """Every shape of product that a plan can quantize, then layers in float.

    Each quantized product comes twice: with its result in float, and quantized again, since engines
    take other kernels there.
    """
    for name, draw in _products():
        for ending in ("", ", to INT8"):
            sketch = _Sketch(name + ending)
            output = draw(sketch)
            yield sketch.finish(sketch.quantize(output) if ending else output)
    for scheme_name, zero_point in (("unsigned", 0), ("with a zero point", 128)):
        for kernel in (1, 3):
            sketch = _Sketch(f"{kernel}x{kernel} convolution, uint8 {scheme_name}", "asymmetric")
            x = sketch.quantize(sketch.input(33, lowest=-zero_point), np.uint8(zero_point))
            yield sketch.finish(sketch.quantize(sketch.convolve(x, kernel=kernel)))
        sketch = _Sketch(f"depthwise convolution, uint8 {scheme_name}", "asymmetric")
        x = sketch.quantize(sketch.input(17, lowest=-zero_point), np.uint8(zero_point))
        yield sketch.finish(sketch.quantize(sketch.convolve(x, n_out=17, group=17)))
        sketch = _Sketch(f"Gemm, uint8 {scheme_name}", "asymmetric")
        x = sketch.op("Flatten", sketch.input(7, lowest=-zero_point))
        yield sketch.finish(sketch.gemm(sketch.quantize(x, np.uint8(zero_point)), 7 * _SIDE**2))
    for kind in ("convolution", "Gemm"):
        sketch = _Sketch(f"{kind} in float", fine=True)
        x = sketch.input(16)
        flat = kind == "Gemm" and sketch.gemm(sketch.op("Flatten", x), 16 * _SIDE**2)
        yield sketch.finish(flat or sketch.convolve(x))


def _products() -> Iterator[tuple[str, Callable[[_Sketch], str]]]:
    """Names and drawings of the networks up to the output of the product."""
    for channels in _TAILS:
        for kernel in (1, 3):

            def plain(s: _Sketch, channels: int = channels, kernel: int = kernel) -> str:
                return s.convolve(s.quantize(s.input(channels)), kernel=kernel)

            yield f"{kernel}x{kernel} convolution of {channels} channels", plain
    for channels, group in ((16, 16), (33, 33), (16, 4), (18, 2)):

        def grouped(s: _Sketch, channels: int = channels, group: int = group) -> str:
            return s.convolve(s.quantize(s.input(channels)), n_out=channels, group=group)

        kind = "depthwise" if channels == group else f"{group} groups of a"
        yield f"{kind} convolution of {channels} channels", grouped
    yield "7x7 convolution of 3 channels", lambda s: s.convolve(s.quantize(s.input(3)), kernel=7)
    yield "convolution with stride 2", lambda s: s.convolve(s.quantize(s.input(17)), strides=[2, 2])
    yield (
        "dilated convolution",
        lambda s: s.convolve(s.quantize(s.input(17)), dilations=[2, 2], pads=[2] * 4),
    )
    yield "transposed convolution", lambda s: s.transpose_convolve(s.quantize(s.input(16)))
    yield "Gemm", lambda s: s.gemm(s.quantize(s.op("Flatten", s.input(7))), 7 * _SIDE**2)
    yield "MatMul of two activations", _gram
    yield "convolution behind ReLU", lambda s: s.convolve(s.quantize(s.op("Relu", s.input(33))))
    yield "convolution behind convolution and ReLU", lambda s: s.convolve(_behind(s, s.relu))
    yield "convolution behind convolution and SiLU", lambda s: s.convolve(_behind(s, s.silu))
    yield "convolution behind Concat", lambda s: s.convolve(s.quantize(_concatenated(s)))
    yield (
        "convolution behind Concat and ReLU",
        lambda s: s.convolve(s.quantize(s.relu(_concatenated(s)))),
    )
    yield "convolution behind a residual Add", lambda s: s.convolve(s.quantize(_residual(s)))
    yield "residual Add", _residual
    yield "residual Add of SiLU", lambda s: _residual(s, s.silu)
    yield "residual Add, quantized on one side", lambda s: _residual(s, both=False)
    yield "Add of two convolutions", _shortcut
    yield "convolution behind MaxPool", lambda s: s.convolve(s.quantize(_pooled(s, "MaxPool")))
    yield "convolution behind AveragePool", lambda s: s.convolve(_pooled(s, "AveragePool"))
    yield "convolution behind a quantized Concat", lambda s: s.convolve(_joined(s))
    yield "convolution behind a quantized Mul", lambda s: s.convolve(s.quantize(_gated(s)))


def _behind(sketch: _Sketch, activation: Callable[[str], str]) -> str:
    """The convolution's weights are small, so that SiLU is no straight line where it is used."""
    first = sketch.shrink(sketch.quantize(sketch.input(16)), 2.0**-9)
    return sketch.quantize(activation(first))


def _concatenated(sketch: _Sketch) -> str:
    x = sketch.quantize(sketch.input(16))
    return sketch.op("Concat", sketch.convolve(x), sketch.convolve(x), axis=1)


def _residual(
    sketch: _Sketch, activation: Callable[[str], str] | None = None, both: bool = True
) -> str:
    """A block of two convolutions, behind one: there engines take the sum into the last.

    Without ``both`` only the residual is quantized.
    """
    x = sketch.quantize(sketch.relu(sketch.shrink(sketch.quantize(sketch.input(16)))))
    branch = sketch.shrink(sketch.quantize(sketch.relu(sketch.shrink(x))))
    branch = activation(branch) if activation else branch
    return sketch.relu(sketch.op("Add", sketch.quantize(branch) if both else branch, x))


def _shortcut(sketch: _Sketch) -> str:
    x = sketch.quantize(sketch.input(16))
    sides = [sketch.quantize(sketch.shrink(x)) for _ in range(2)]
    return sketch.relu(sketch.op("Add", *sides))


def _pooled(sketch: _Sketch, kind: str) -> str:
    """Of quantized values; an average is quantized once more."""
    x = sketch.quantize(sketch.relu(sketch.shrink(sketch.quantize(sketch.input(16)))))
    x = sketch.op(kind, x, kernel_shape=[2, 2], strides=[2, 2])
    return sketch.quantize(x) if kind == "AveragePool" else x


def _joined(sketch: _Sketch) -> str:
    """Every tensor has a separate Q/DQ, as with placement=implicit."""
    x = sketch.quantize(sketch.input(16))
    sides = [sketch.quantize(sketch.shrink(x)) for _ in range(2)]
    return sketch.quantize(sketch.op("Concat", *sides, axis=1))


def _gated(sketch: _Sketch) -> str:
    """A product of a quantized tensor and its quantized sigmoid."""
    x = sketch.shrink(sketch.quantize(sketch.input(16)), 2.0**-9)
    x = sketch.quantize(x)
    return sketch.op("Mul", x, sketch.quantize(sketch.op("Sigmoid", x)))


def _gram(sketch: _Sketch) -> str:
    """All products on the diagonal have one sign."""
    shape = sketch.constant(np.array([1, 9, _SIDE**2]))
    x = sketch.op("Reshape", sketch.input(9), shape)
    turned = sketch.op("Transpose", x, perm=[0, 2, 1])
    return sketch.op("MatMul", sketch.quantize(x), sketch.quantize(turned))


class _Sketch:
    """A network drawn node by node; each call returns the name of the tensor that it makes.

    ``self._depth`` has the channels of every tensor that a convolution may read. With ``fine``
    values have 12 significant bits, more than bfloat16, FP16 or TF32 keep of them; without, they
    lie on grids.
    """

    def __init__(self, name: str, scheme: Scheme = "symmetric", *, fine: bool = False) -> None:
        self._name, self._scheme, self._fine = name, scheme, fine
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._batch: Array = np.zeros((1, 0, _SIDE, _SIDE), np.float32)
        self._depth: dict[str, int] = {}
        self._step = 0.0  # of the last quantization
        self._product: str | None = None

    def input(self, channels: int, lowest: int = -128) -> str:
        """(1, channels, side, side): integers from ``lowest`` to ``lowest`` + 255, times a step."""
        shape = (1, channels, _SIDE, _SIDE)
        if self._fine:
            self._batch = self._fine_values(shape)
        else:
            ends = self._ends(shape, lowest, lowest + 255)
            self._batch = (ends * _INPUT_SCALE).astype(np.float32)
        self._depth["x"] = channels
        return "x"

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self._nodes)}"
        output = f"{name}_out"
        self._nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        sources = inputs if kind == "Concat" else inputs[:1]
        self._depth[output] = sum(self._depth.get(source, 0) for source in sources)
        if kind in ("Conv", "ConvTranspose", "Gemm", "MatMul") and not self._fine:
            self._product = name
        return output

    def constant(self, values: npt.NDArray[Any] | np.generic) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def quantize(self, x: str, zero_point: np.int8 | np.uint8 = _ZERO) -> str:
        """Q/DQ with the smallest power of two as scale that clips nothing but -128."""
        scale = 2.0 ** np.ceil(np.log2(np.abs(self._evaluate(x)).max() / 128))
        self._step = float(scale)
        grid = self.constant(np.float32(scale)), self.constant(zero_point)
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, *grid), *grid)

    def convolve(
        self,
        x: str,
        n_out: int = 18,
        kernel: int = 3,
        group: int = 1,
        weight_scale: float = 1.0,
        **attributes: Any,
    ) -> str:
        """A convolution with a bias, that keeps the size unless attributes say otherwise."""
        shape = (n_out, self._depth[x] // group, kernel, kernel)
        attributes.setdefault("pads", [kernel // 2] * 4)
        weight, bias = self._weights(shape, 0, weight_scale)
        output = self.op("Conv", x, weight, bias, group=group, **attributes)
        self._depth[output] = n_out
        return output

    def shrink(self, x: str, factor: float = 2.0**-6) -> str:
        """A convolution to 16 channels whose weights are small, as are its results."""
        return self.convolve(x, n_out=16, weight_scale=factor)

    def transpose_convolve(self, x: str) -> str:
        weight, bias = self._weights((self._depth[x], 8, 2, 2), 1)
        return self.op("ConvTranspose", x, weight, bias, strides=[2, 2])

    def gemm(self, x: str, n_in: int) -> str:
        return self.op("Gemm", x, *self._weights((n_in, 10), 1))

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def finish(self, output: str) -> ProbeNetwork:
        expected = self._evaluate(output)
        step = 4e-5 * float(np.abs(expected).max()) if self._fine else self._step
        return ProbeNetwork(
            self._name, self._model(output), self._batch, expected, step, self._product,
            self._scheme,
        )  # fmt: skip

    def _weights(self, shape: tuple[int, ...], axis: int, factor: float = 1.0) -> tuple[str, str]:
        """Weights per output channel with their DequantizeLinear, and a bias on their products'
        grid."""
        count = shape[axis]
        if self._fine:
            return self.constant(self._fine_values(shape)), self.constant(
                np.zeros(count, np.float32)
            )
        scales = np.resize(np.array(_WEIGHT_SCALES, np.float32), count) * np.float32(factor)
        values = self._ends(shape, -127, 127).astype(np.int8)
        inputs = (values, scales, np.zeros(count, np.int8))
        weight = self.op("DequantizeLinear", *map(self.constant, inputs), axis=axis)
        bias = self._rng.integers(-1000, 1000, count) * _INPUT_SCALE * scales
        return weight, self.constant(bias.astype(np.float32))

    def _ends(self, shape: tuple[int, ...], low: int, high: int) -> npt.NDArray[np.int64]:
        """Integers, four of five at or beside an end of the range."""
        ends = self._rng.choice([low, low + 1, high - 1, high], shape)
        return np.where(self._rng.random(shape) < 0.8, ends, self._rng.integers(low, high, shape))

    def _fine_values(self, shape: tuple[int, ...]) -> Array:
        """From 1 to 2, in steps of 2^-12."""
        return np.asarray(1 + self._rng.integers(0, 2**12, shape) / 2**12, np.float32)

    def _evaluate(self, output: str) -> Array:
        (result,) = ReferenceEvaluator(self._model(output, _REFERENCE_OPSET)).run(
            None, {"x": self._batch}
        )
        return np.asarray(result, np.float32)

    def _model(self, output: str, opset: int = _OPSET) -> onnx.ModelProto:
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, self._batch.shape)
        end = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self._nodes, "probe", [source], [end], self._constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9
        )
