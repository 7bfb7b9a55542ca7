"""ONNX Runtime on the CPU: the FP32 baseline, and the accuracy cross-check for INT8.

Its latency on a Q/DQ file says little: where an activation such as SiLU stands between a
convolution and the next QuantizeLinear it runs that convolution in float.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime as ort

from bench.engine.base import Array, Description, Int8Model, Session
from bench.errors import EngineError
from bench.quantization.grid import Scheme

_INT8_OPS = frozenset(
    {
        "QLinearConv",
        "QLinearMatMul",
        "QGemm",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
    }
)
_FLOAT_OPS = frozenset(
    {"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
)


@dataclass(frozen=True)
class OnnxRuntime:
    """``threads`` = 0 leaves the number of threads to ONNX Runtime."""

    threads: int = 0
    name: str = "onnxruntime"
    schemes: ClassVar[tuple[Scheme, ...]] = ("symmetric", "asymmetric")

    @property
    def version(self) -> str:
        return str(ort.__version__)

    @property
    def options(self) -> str:
        return f"threads={self.threads}"

    def build(self, model: onnx.ModelProto) -> OnnxRuntimeSession:
        return OnnxRuntimeSession(model, self._session_options())

    def build_int8(self, model: Int8Model) -> OnnxRuntimeSession:
        return self.build(model.qdq)

    def _session_options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        # Threads that spin after a run would steal the clock of the engine timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


class OnnxRuntimeSession(Session):
    """An ``InferenceSession`` behind the harness's seam."""

    def __init__(self, model: onnx.ModelProto, options: ort.SessionOptions) -> None:
        self._options = options
        self._content = model.SerializeToString()
        self._session = self._open()
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: Array) -> Sequence[Array]:
        session = self._session
        try:
            return [np.asarray(out) for out in session.run(None, {self._input: batch})]
        except Exception as error:  # ONNX Runtime's own exceptions share no other base
            reason = str(error).splitlines()[0]
            raise EngineError(f"ONNX Runtime cannot run the model ({reason})") from error

    def describe(self) -> Description:
        """Read the optimized graph: a fused quantized operator is INT8, a float one is not."""
        with tempfile.TemporaryDirectory() as folder:
            self._options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
            self._open()
            nodes = onnx.load(self._options.optimized_model_filepath).graph.node
            self._options.optimized_model_filepath = ""
        int8 = [n for n in nodes if n.op_type in _INT8_OPS]
        floats = [n for n in nodes if n.op_type in _FLOAT_OPS]
        return Description(self._originals(int8), len(int8), len(int8) + len(floats))

    def _originals(self, fused: Sequence[onnx.NodeProto]) -> frozenset[str]:
        """Fused nodes keep no name, but read the quantized weights of one node.

        A product of two activations has none; it makes that node's output, or its quantized one.
        """
        graph = onnx.load_from_string(self._content).graph
        weights = {initializer.name for initializer in graph.initializer}
        stored = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in weights
        }
        reader, maker = {}, {}
        for node in graph.node:
            if node.op_type in _FLOAT_OPS:
                own = [stored[name] for name in node.input if name in stored]
                reader.update(dict.fromkeys(own, node.name))
                maker.update({} if own else dict.fromkeys(node.output, node.name))
            elif node.op_type == "QuantizeLinear" and node.input[0] in maker:
                maker[node.output[0]] = maker[node.input[0]]
        found = {reader[name] for node in fused for name in node.input if name in reader}
        found |= {maker[name] for node in fused for name in node.output if name in maker}
        return frozenset(found)

    def _open(self) -> ort.InferenceSession:
        try:
            return ort.InferenceSession(
                self._content, self._options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no other base
            reason = str(error).splitlines()[0]
            raise EngineError(f"ONNX Runtime refuses the model ({reason})") from error

    def close(self) -> None:
        del self._session
