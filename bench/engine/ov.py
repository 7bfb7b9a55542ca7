"""OpenVINO on the CPU: the default engine for INT8.

It runs a Q/DQ file with int8 convolutions and fuses the activation behind a convolution into it, as
TensorRT does. Float layers run in FP32 on every processor.

Without VNNI or AMX its int8 kernels add two products at a time in int16, which saturates. So it can
also compute the file in float: then Q/DQ stay separate operations, and no sum saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import onnx
import openvino as ov
from onnx import helper, numpy_helper

from bench.engine.base import (
    AccuracyChoice,
    Array,
    Description,
    Int8Model,
    LayerTime,
    Session,
    check_cpu_options,
)
from bench.engine.ov_profile import measure_layers, plain_name
from bench.errors import EngineError
from bench.model.edit import copy_of, set_nodes
from bench.model.graph import COMPUTE_OPS
from bench.quantization.grid import Scheme

# Types become numpy's by a table that OpenVINO makes at the first use. If two threads are first at
# the same time, each waits for the other for ever (2026.4.1), so it is made here, by one.
ov.Type.f32.to_dtype()

_LAYERS = frozenset({"Convolution", "FullyConnected", "MatMul", "Deconvolution"})
_INT8 = frozenset({"i8", "u8"})
_ELEMENTWISE = frozenset(
    {"Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "Mul", "Add", "Sub", "Div"}
)


_EXACT = {"LP_TRANSFORMS_MODE": "NO"}
"""Without OpenVINO's low-precision transformations no product runs in int8."""


@dataclass(frozen=True)
class OpenVino:
    """``threads`` = 0 leaves the number of threads to OpenVINO.

    ``accuracy_by`` says whether accuracies are those of the int8 kernels or of an exact emulation.
    Raises ConfigError for an unknown one, and for threads below 0.
    """

    threads: int = 0
    accuracy_by: AccuracyChoice = "probe"
    name: str = "openvino"
    schemes: ClassVar[tuple[Scheme, ...]] = ("symmetric", "asymmetric")

    def __post_init__(self) -> None:
        check_cpu_options(self.threads, self.accuracy_by)

    @property
    def version(self) -> str:
        return str(ov.__version__).split("-")[0]

    @property
    def options(self) -> str:
        return f"threads={self.threads}"

    def build(self, model: onnx.ModelProto) -> OpenVinoSession:
        return self._compile(guard_quantizations(model), {})

    def build_int8(self, model: Int8Model) -> OpenVinoSession:
        return self.build(model.qdq)

    def build_exact(self, qdq: onnx.ModelProto) -> OpenVinoSession:
        return self._compile(qdq, _EXACT)

    def _compile(self, model: onnx.ModelProto, further: Mapping[str, object]) -> OpenVinoSession:
        profiled = {**further, "PERF_COUNT": True}
        return OpenVinoSession(
            _compile(model, further, self.threads),
            _names(model),
            lambda *given: measure_layers(_compile(model, profiled, self.threads), model, *given),
        )


def compile_exact(model: bytes) -> ov.CompiledModel:
    """A float or Q/DQ model, serialized, on one core, every sum of products exact up to float32's
    rounding; raises EngineError if OpenVINO refuses it.

    For several inferences at the same time, compile it several times: with NUM_STREAMS=2
    OpenVINO 2026.4.1 computes some pieces of a Q/DQ network wrongly, by as much as the signal.
    """
    return _compile(model, {**_EXACT, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}, 1)


def _compile(
    model: onnx.ModelProto | bytes, further: Mapping[str, object], threads: int
) -> ov.CompiledModel:
    settings: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16, where the processor has it
        "PERFORMANCE_HINT": "LATENCY",
        # Otherwise a float Gemm with int8 weights would quantize its input.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        **further,
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    core = _core()
    content = model if isinstance(model, bytes) else model.SerializeToString()
    try:
        return core.compile_model(core.read_model(content), "CPU", settings)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise EngineError(f"OpenVINO refuses the model ({reason})") from error


class OpenVinoSession(Session):
    """A compiled model as a session; ``names`` maps the names of its layers to ours, and
    ``profile`` compiles a copy that times its layers on a batch, so many times."""

    def __init__(
        self,
        compiled: ov.CompiledModel,
        names: Mapping[str, str],
        profile: Callable[[Array, int], Sequence[LayerTime]],
    ) -> None:
        self._compiled = compiled
        self._names = names
        self._profile = profile
        self._request = compiled.create_infer_request()

    def run(self, batch: Array) -> Sequence[Array]:
        try:
            self._request.infer([batch], share_inputs=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"OpenVINO cannot run the model ({reason})") from error
        return [np.array(output.data) for output in self._request.output_tensors]

    def describe(self) -> Description:
        int8_nodes: set[str] = set()
        int8 = layers = 0
        for operation in self._compiled.get_runtime_model().get_ordered_ops():
            info = operation.get_rt_info()
            if info["layerType"].astype(str) not in _LAYERS:
                continue
            layers += 1
            if info["runtimePrecision"].astype(str) in _INT8:
                int8 += 1
                int8_nodes.update(self._originals(info["originalLayersNames"].astype(str)))
        return Description(frozenset(int8_nodes), int8, layers)

    def _originals(self, fused: str) -> Iterator[str]:
        """The convolutions and matrix products among the operations fused into one layer."""
        for name in fused.split(","):
            plain = plain_name(name)
            if plain in self._names:
                yield self._names[plain]

    def layer_times(self, batch: Array, runs: int) -> Sequence[LayerTime]:
        return self._profile(batch, runs)

    def close(self) -> None:
        del self._request, self._compiled, self._profile


@cache
def _core() -> ov.Core:
    """The single OpenVINO core of this process, never released.

    Each core loads a CPU plugin, which sets an alternate stack for signals and restores the
    previous one when it is released. If two are released in the order of their creation, the second
    restores a stack that the first has unmapped: the next signal, such as Ctrl-C, then ends in a
    segmentation fault.
    """
    return ov.Core()


def _names(model: onnx.ModelProto) -> dict[str, str]:
    """OpenVINO's name of a product -> our name: that name, or its output's at the network's end."""
    products = [node for node in model.graph.node if node.op_type in COMPUTE_OPS]
    by_output = {name: node.name for node in products for name in node.output}
    return by_output | {node.name: node.name for node in products}


def guard_quantizations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Insert Max(x, lowest float) before every QuantizeLinear that OpenVINO would move or skip.

    OpenVINO moves no quantization across a Max. The Max changes no value, and is fused. (Tried: the
    first case with 2024.6 to 2026.4.1, the second with 2026.4.1.)

    - Behind a Concat, elementwise steps between. Processors without AMX run signed activations as
      uint8 with zero point 128. OpenVINO moves the quantization before the Concat, and the
      convolution that follows then computes with a wrong zero point: 8 dB instead of 140 dB against
      ONNX Runtime on a three-layer graph, no detection at all on YOLOv8. The same happens with a
      Relu, or a Mul or Add with a constant, between the two.
    - Behind a convolution whose quantized output is added to another tensor. OpenVINO fuses the Add
      into the convolution and skips the rounding before it: 34 dB instead of 43 dB on ResNet-18
      (rounding alone: 44 dB).
    """
    guarded = copy_of(model)
    summed = _summed(model.graph)
    scales = {t.name: helper.tensor_dtype_to_np_dtype(t.data_type) for t in model.graph.initializer}
    lowest: dict[np.dtype[Any], str] = {}  # FP16 files have scales of FP16
    concatenated: set[str] = set()
    computed: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in guarded.graph.node:
        elementwise = node.op_type in _ELEMENTWISE
        if node.op_type == "Concat" or (elementwise and concatenated.intersection(node.input)):
            concatenated.update(node.output)
        if node.op_type in COMPUTE_OPS or (elementwise and computed.intersection(node.input)):
            computed.update(node.output)
        if node.op_type == "QuantizeLinear" and (
            node.input[0] in concatenated
            or (node.input[0] in computed and node.output[0] in summed)
        ):
            guard = f"{node.input[0]}/guarded"
            kind = scales[node.input[1]]
            lowest[kind] = f"guard/lowest {kind}"
            nodes.append(
                helper.make_node("Max", [node.input[0], lowest[kind]], [guard], name=guard)
            )
            node.input[0] = guard
        nodes.append(node)
    if len(nodes) == len(guarded.graph.node):
        return model
    set_nodes(guarded.graph, nodes)
    for kind, name in lowest.items():
        guarded.graph.initializer.append(
            numpy_helper.from_array(np.array(np.finfo(kind).min, kind), name)
        )
    return guarded


def _summed(graph: onnx.GraphProto) -> set[str]:
    """The quantized tensors that are added, dequantized, to another dequantized one."""
    stored = {
        node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"
    }
    sums = [node for node in graph.node if node.op_type == "Add"]
    return {stored[name] for node in sums if set(node.input) <= set(stored) for name in node.input}
