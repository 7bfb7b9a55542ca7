"""ONNX Runtime: the FP32 baseline, and on the CPU the accuracy cross-check for INT8.

Its latency on a Q/DQ file is not representative: where an activation such as SiLU is between a
convolution and the next QuantizeLinear, it runs that convolution in float.

Where it does fuse, its int8 kernels saturate on processors without VNNI (1.23.2, tried on an
emulated Haswell). With ``session.disable_quant_qdq`` it computes the file in float, exactly.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from bench import environment
from bench.engine.base import (
    AccuracyChoice,
    Array,
    Description,
    Int8Model,
    LayerTime,
    Session,
    check_cpu_options,
)
from bench.engine.onnxrt_profile import FLOAT_OPS, INT8_OPS, measure_layers, products_by_tensor
from bench.errors import EngineError
from bench.quantization.grid import Scheme

Provider = Literal["cpu", "cuda"]
_CUDA = "CUDAExecutionProvider"
_PROVIDERS: dict[Provider, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": [(_CUDA, {"use_tf32": "0"})],  # TF32 keeps 10 of FP32's 23 mantissa bits
}
_WARNING, _FATAL = 2, 4  # severities of ONNX Runtime's log


@dataclass(frozen=True)
class OnnxRuntime:
    """``threads`` = 0 leaves the number of threads to ONNX Runtime. ``provider``: cpu or cuda, in
    true FP32; operators without a CUDA kernel run on the CPU.

    ``accuracy_by`` says whether accuracies in INT8 are those of its kernels or of an exact
    emulation.

    Raises ConfigError for an unknown provider or ``accuracy_by`` and for threads below 0, and
    EngineError where CUDA is asked for and does not start.
    """

    threads: int = 0
    provider: Provider = "cpu"
    accuracy_by: AccuracyChoice = "probe"
    name: str = "onnxruntime"
    schemes: ClassVar[tuple[Scheme, ...]] = ("symmetric", "asymmetric")

    def __post_init__(self) -> None:
        check_cpu_options(self.threads, self.accuracy_by)

    @property
    def version(self) -> str:
        """Version of the package, and the provider if it is not the CPU."""
        if self.provider == "cpu":
            return str(ort.__version__)
        _start_cuda()
        return f"{ort.__version__} CUDA"

    @property
    def options(self) -> str:
        return f"threads={self.threads}"

    def build(self, model: onnx.ModelProto) -> OnnxRuntimeSession:
        return self._open(model, self._session_options())

    def build_int8(self, model: Int8Model) -> OnnxRuntimeSession:
        return self.build(model.qdq)

    def build_exact(self, qdq: onnx.ModelProto) -> OnnxRuntimeSession:
        options = self._session_options()
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return self._open(qdq, options)

    def _open(self, model: onnx.ModelProto, options: ort.SessionOptions) -> OnnxRuntimeSession:
        if self.provider == "cuda":
            _start_cuda()
        return OnnxRuntimeSession(model, options, _PROVIDERS[self.provider])

    def _session_options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        # By itself it starts a thread for each core of the machine, on the few that a process has.
        options.intra_op_num_threads = self.threads or environment.own_cores() or 0
        options.log_severity_level = 3
        # Threads that spin after a run would steal the clock of the engine timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


class OnnxRuntimeSession(Session):
    """An ``InferenceSession`` as a session of this program."""

    def __init__(
        self, model: onnx.ModelProto, options: ort.SessionOptions, providers: Sequence[Any]
    ) -> None:
        self._options = options
        self._providers = providers
        self.on_gpu = list(providers) != _PROVIDERS["cpu"]
        self._content = model.SerializeToString()
        self._session = self._open()
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: Array) -> Sequence[Array]:
        session = self._session
        try:
            return [np.asarray(out) for out in session.run(None, {self._input: batch})]
        except Exception as error:  # ONNX Runtime's exceptions have no other common base
            reason = str(error).splitlines()[0]
            raise EngineError(f"ONNX Runtime cannot run the model ({reason})") from error

    def describe(self) -> Description:
        """Read the optimized graph: a fused quantized operator is INT8, a float one is not."""
        with tempfile.TemporaryDirectory() as folder:
            self._options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
            self._open()
            nodes = onnx.load(self._options.optimized_model_filepath).graph.node
            self._options.optimized_model_filepath = ""
        int8 = [n for n in nodes if n.op_type in INT8_OPS]
        floats = [n for n in nodes if n.op_type in FLOAT_OPS]
        return Description(self._originals(int8), len(int8), len(int8) + len(floats))

    def _originals(self, fused: Sequence[onnx.NodeProto]) -> frozenset[str]:
        reader, maker = products_by_tensor(onnx.load_from_string(self._content).graph)
        names = {reader[name] for node in fused for name in node.input if name in reader}
        names |= {maker[name] for node in fused for name in node.output if name in maker}
        return frozenset(names)

    def _open(self) -> ort.InferenceSession:
        try:
            # Its fallback would continue on the CPU, both here and in a run.
            return ort.InferenceSession(
                self._content, self._options, providers=self._providers, enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's exceptions have no other common base
            reason = str(error).splitlines()[0]
            raise EngineError(f"ONNX Runtime refuses the model ({reason})") from error

    def layer_times(self, batch: Array, runs: int) -> Sequence[LayerTime]:
        return measure_layers(self._content, self._options, self._providers, batch, runs)

    def close(self) -> None:
        del self._session


@lru_cache(maxsize=1)
def _start_cuda() -> None:
    """Load CUDA's libraries, and see ONNX Runtime start on them.

    Raises EngineError where it does not: a session would use the CPU instead, without a message
    if libraries are missing.
    """
    version, instead = ort.__version__, "or use provider=cpu"
    if _CUDA not in ort.get_available_providers():
        raise EngineError(
            f"ONNX Runtime {version} is installed without its CUDA provider",
            f"pip install --force-reinstall --no-deps onnxruntime-gpu=={version} puts it into "
            f"onnxruntime's own folder (which the next install of onnxruntime undoes); {instead}",
        )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        ort.preload_dlls()  # those of NVIDIA's Python packages, too
    reason = said.getvalue().partition("\n")[0] or "no reason given"
    ort.set_default_logger_severity(_FATAL)  # the error below has it, in one line
    try:
        session = ort.InferenceSession(_nothing(), providers=_PROVIDERS["cuda"], enable_fallback=0)
        if _CUDA in session.get_providers():
            return
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        failure = re.search("CUDA failure [^;]+", str(error))
        reason = failure[0].strip() if failure else str(error).splitlines()[0]
    finally:
        ort.set_default_logger_severity(_WARNING)
    raise EngineError(
        f"ONNX Runtime's CUDA provider does not start ({reason})",
        f"It needs a GPU with its driver, and CUDA and cuDNN of the same release: pip install "
        f"'onnxruntime-gpu[cuda,cudnn]=={version}'; {instead}",
    )


def _nothing() -> bytes:
    """The smallest model."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "nothing", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())
