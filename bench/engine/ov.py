"""OpenVINO on the CPU: the embedded default for INT8.

It runs a Q/DQ file with int8 convolutions and fuses the activation behind a convolution into it, as
TensorRT does. Float layers run in FP32, whatever the processor offers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import onnx
import openvino as ov
from onnx import helper, numpy_helper

from bench.engine.base import Array, Description
from bench.errors import EngineError

_LAYERS = frozenset({"Convolution", "FullyConnected", "MatMul", "Deconvolution"})
_INT8 = frozenset({"i8", "u8"})


@dataclass(frozen=True)
class OpenVino:
    """``threads`` = 0 leaves the number of threads to OpenVINO."""

    threads: int = 0
    name: str = "openvino"

    @property
    def version(self) -> str:
        return str(ov.__version__).split("-")[0]

    @property
    def options(self) -> str:
        return f"threads={self.threads}"

    def build(self, model: onnx.ModelProto) -> OpenVinoSession:
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if self.threads:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        core = ov.Core()
        try:
            content = guard_concatenations(model).SerializeToString()
            return OpenVinoSession(core.compile_model(core.read_model(content), "CPU", settings))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"OpenVINO refuses the model ({reason})") from error


class OpenVinoSession:
    """A compiled model behind the harness's seam."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def run(self, batch: Array) -> Sequence[Array]:
        self._request.infer([batch], share_inputs=True)
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
                int8_nodes.update(info["originalLayersNames"].astype(str).split(","))
        # A fused bias or activation hides the convolution behind a suffixed name.
        plain = {name.removesuffix("/WithoutBiases") for name in int8_nodes}
        return Description(frozenset(plain), int8, layers)

    def __enter__(self) -> OpenVinoSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._request, self._compiled


def guard_concatenations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put Max(x, lowest) between every Concat and the QuantizeLinear behind it.

    Processors without AMX run signed activations as uint8 with zero point 128. OpenVINO (2024.6 to
    2026.4.1, tried) moves a QuantizeLinear from behind a Concat before it, and the convolution that
    follows then computes with a wrong zero point: 8 dB instead of 140 dB against ONNX Runtime on a
    three-layer graph, no detection at all on YOLOv8. An operator it does not move quantization
    across keeps the two apart; it changes no value, and is fused into the quantization.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    guarded = onnx.ModelProto()
    guarded.CopyFrom(model)
    nodes: list[onnx.NodeProto] = []
    for node in guarded.graph.node:
        source = producers.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if source is not None and source.op_type == "Concat":
            guard = f"{node.input[0]}/guarded"
            nodes.append(
                helper.make_node("Max", [node.input[0], "guard/lowest"], [guard], name=guard)
            )
            node.input[0] = guard
        nodes.append(node)
    if len(nodes) == len(guarded.graph.node):
        return model
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del guarded.graph.node[:]
    guarded.graph.node.extend(copies)
    lowest = numpy_helper.from_array(np.array(np.finfo(np.float32).min), "guard/lowest")
    guarded.graph.initializer.append(lowest)
    return guarded
