"""TensorRT for RTX: NVIDIA's builder, ahead of time, also on a machine without a GPU.

It takes explicit Q/DQ only, for one compute capability at a time (TensorRT for RTX developer guide,
"Ahead-of-time compilation"; tested: 1.7.1.116 on a CPU). The engine runs only on GPUs of that
capability: elsewhere a run ends with the engine, its build time, its size, and the messages of
parser and builder.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import onnx

from bench.engine.base import AotCompiler, Compiled, Int8Model
from bench.engine.trt.build_log import open_log, reason, short
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.engine_store import Plan, build_now
from bench.engine.trt.runtime import TensorRtSession
from bench.engine.trt.session import open_session
from bench.errors import ConfigError, EngineError
from bench.model.half import to_half
from bench.quantization.grid import Scheme

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

CAPABILITIES = ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
"""Turing to Blackwell, without SM90: there the library ends in "bad optional access"."""


@dataclass(frozen=True)
class TensorRtRtx(AotCompiler):
    """A builder for one ``compute_capability``; ``half``: what is not INT8 in FP16.

    Raises ConfigError for a capability that it does not know.
    """

    compute_capability: str = "SM89"
    half: bool = False
    name: ClassVar[str] = "tensorrt_rtx"
    threads: ClassVar[int] = 0
    schemes: ClassVar[tuple[Scheme, ...]] = ("symmetric",)

    def __post_init__(self) -> None:
        if self.compute_capability not in CAPABILITIES:
            raise ConfigError(
                f"TensorRT for RTX does not build for compute capability {self.compute_capability}",
                f"Use one of {', '.join(CAPABILITIES)}",
            )

    @property
    def version(self) -> str:
        return str(_tensorrt().__version__)

    @property
    def options(self) -> str:
        return f"compute_capability={self.compute_capability}, half={self.half}"

    def compile(self, model: onnx.ModelProto) -> Compiled:
        """Parse and build; the batch is fixed.

        Raises EngineError with the first error of parser or builder.
        """
        trt = _tensorrt()
        log = open_log(trt)
        builder = trt.Builder(log)
        network = builder.create_network(0)
        parser = trt.OnnxParser(network, log)
        if not parser.parse(model.SerializeToString()):
            said = reason(log)
            if parser.num_errors:
                complaint = parser.get_error(0)
                said = short(f"{complaint.node_name()}: {complaint.desc()}")
            raise EngineError(f"TensorRT for RTX cannot parse the model ({said})")
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.clear_flag(trt.BuilderFlag.TF32)  # true FP32, as with engine=tensorrt
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector; no larger
        config.set_compute_capability(trt.ComputeCapability.__members__[self.compute_capability], 0)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(f"TensorRT for RTX cannot build the model ({reason(log)})")
        return Compiled(bytes(plan), tuple(dict.fromkeys(log.warnings)))

    def compile_int8(self, qdq: onnx.ModelProto) -> Compiled:
        return self.compile(to_half(qdq) if self.half else qdq)

    def runner(self) -> RtxEngine | None:
        try:
            here = find_gpu().capability
        except ConfigError:
            return None
        return RtxEngine(self) if here == self.compute_capability else None


@dataclass(frozen=True)
class RtxEngine:
    """Runs the engines of ``ahead`` on a GPU of its compute capability."""

    ahead: TensorRtRtx
    name: ClassVar[str] = TensorRtRtx.name
    threads: ClassVar[int] = TensorRtRtx.threads
    schemes: ClassVar[tuple[Scheme, ...]] = TensorRtRtx.schemes

    @property
    def version(self) -> str:
        return self.ahead.version

    @property
    def half(self) -> bool:
        """Whether layers not in INT8 run in FP16, which the check of accuracies allows for."""
        return self.ahead.half

    @property
    def options(self) -> str:
        return f"{self.ahead.options}, {find_gpu()}"

    def build(self, model: onnx.ModelProto) -> TensorRtSession:
        return self._open(self.ahead.compile, model)

    def build_fp16(self, model: onnx.ModelProto) -> TensorRtSession:
        return self.build(to_half(model))

    def build_int8(self, model: Int8Model) -> TensorRtSession:
        return self._open(self.ahead.compile_int8, model.qdq)

    def _open(
        self, compile: Callable[[onnx.ModelProto], Compiled], model: onnx.ModelProto
    ) -> TensorRtSession:
        return open_session(_tensorrt(), build_now(lambda: Plan(compile(model).content)), model)


def _tensorrt() -> TensorRT:
    """The bindings, imported when needed: nothing else here depends on them."""
    try:
        importlib.import_module("tensorrt_rtx_libs")  # the libraries of the bindings
        return cast("TensorRT", importlib.import_module("tensorrt_rtx_bindings"))
    except ImportError as error:
        raise ConfigError(
            f"engine tensorrt_rtx needs TensorRT for RTX, which is not installed ({error})",
            "Install it: pip install -e '.[rtx]'",
        ) from error
