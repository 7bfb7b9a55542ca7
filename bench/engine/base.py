"""The interface between this program and engines: those that run a network, and those that build
one for another machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt
import onnx

from bench.calibration.native import NativeCalibration, NativeCalibrator
from bench.errors import ConfigError
from bench.quantization.grid import Scheme

Array = npt.NDArray[np.float32]
S = TypeVar("S", bound="Session")

AccuracyBy = Literal["int8 kernels", "exact emulation", "serialized engine"]
"""How a row's accuracy was computed: by int8 kernels, from the Q/DQ file in float, or by an engine
that somebody else built, of which there is no Q/DQ file."""

AccuracyChoice = Literal["probe", "kernels", "emulation"]
"""What decides it: a probe of the kernels (see ``bench.engine.probe``), or the user."""


@dataclass(frozen=True)
class DeviceFacts:
    """What an engine on a GPU also reports: the GPU, and for the built engine the memory that an
    execution needs (MB), its size (bytes) and its build time (s), None if it was built elsewhere.

    ``missing_scales``: tensors without a range that its builder warned of; None: not counted.
    """

    device: str
    memory_mb: float
    engine_bytes: int
    build_s: float | None
    missing_scales: int | None = None


@dataclass(frozen=True)
class DeviceTimes:
    """Times by the GPU's clock: milliseconds of an execution (device memory to device memory) and
    of the transfers to the GPU and back; images per second with all streams busy.

    ``enqueue_p50_ms`` is what the host needs to launch one execution, as one CUDA graph if
    ``graph``. ``latency_p99_ms`` is nan where too few were timed. Clock and temperature are None
    where the GPU does not report them.
    """

    latency_p50_ms: float
    latency_p90_ms: float
    latency_p99_ms: float
    enqueue_p50_ms: float
    upload_p50_ms: float
    download_p50_ms: float
    graph: bool
    throughput: float
    clock_mhz: int | None
    temperature_c: int | None


@dataclass(frozen=True)
class LayerTime:
    """The least time of one layer of a built engine, in milliseconds: other work only adds to it.

    ``nodes`` are the names of the ONNX nodes that were fused into it; for a layer that only changes
    a format, those that it serves; empty where the engine does not report them.
    """

    nodes: tuple[str, ...]
    milliseconds: float


@dataclass(frozen=True)
class Description:
    """What a built engine really runs.

    ``int8_nodes`` are the names of the ONNX nodes (convolutions and matrix products) that run in
    INT8, None where the engine does not report them; ``int8_layers`` of ``layers`` counts the
    convolution and matrix layers of the engine.
    """

    int8_nodes: frozenset[str] | None
    int8_layers: int
    layers: int
    facts: DeviceFacts | None = None


@dataclass(frozen=True, eq=False)
class Int8Model:
    """The input for an INT8 build, in both forms that engines take; fixed batch.

    ``qdq`` is complete in itself (explicit quantization). An engine with implicit quantization
    takes ``fp32`` with ``amax`` (the dynamic range of each tensor by name) and ``float_nodes`` (the
    ONNX nodes that the plan keeps in float). ``algorithm`` is TensorRT's name of the calibrator
    that computed the ranges, as in the first line of its caches; None for a rule of ours.
    """

    qdq: onnx.ModelProto
    fp32: onnx.ModelProto
    amax: Mapping[str, float]
    float_nodes: frozenset[str]
    algorithm: str | None = None


@dataclass(frozen=True)
class Compiled:
    """An engine's file, and the warnings of parser and builder, each warning once."""

    content: bytes
    warnings: tuple[str, ...]


class Session(ABC):
    """A built network, ready to run; a context manager that frees its resources."""

    on_gpu: bool = False
    """Whether it runs on a GPU; work on the processor is then not timed in turn with it."""

    @abstractmethod
    def run(self, batch: Array) -> Sequence[Array]:
        """Outputs, in the ONNX file's order, for a batch (batch_size, 3, height, width)."""

    @abstractmethod
    def describe(self) -> Description:
        """Which nodes run in INT8; may build a profiled copy, so call it outside the clock."""

    def device_times(self) -> DeviceTimes | None:
        """Measure by the GPU's clock, with the input of the last ``run``; None without a GPU."""
        return None

    def layer_times(self, batch: Array, runs: int) -> Sequence[LayerTime] | None:
        """Profile so many inferences of ``batch``; None where the engine has no profile of layers.

        May build a profiled copy, and a profile slows the network: its sum is not a latency.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Free the resources."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Engine(Protocol):
    """An object that builds sessions; a frozen dataclass of its options."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def version(self) -> str: ...

    @property
    def options(self) -> str:
        """Every option that can change a result, for the run key."""
        ...

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The quantization schemes that it runs in INT8."""
        ...

    def build(self, model: onnx.ModelProto) -> Session:
        """A session for a model with a fixed batch; raises EngineError if the engine refuses it."""
        ...

    def build_int8(self, model: Int8Model) -> Session:
        """A session in INT8; raises EngineError if the engine refuses it."""
        ...


class AotCompiler(ABC):
    """An object that builds engines ahead of time, mostly for other machines; a frozen dataclass of
    its options.

    A run with it ends with the engine's file, unless its ``runner`` exists. It is a base class,
    since a run has to distinguish it from an ``Engine``.
    """

    name: ClassVar[str]
    threads: ClassVar[int]
    schemes: ClassVar[tuple[Scheme, ...]]
    compute_capability: str
    """The GPUs that it builds for."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the package; raises ConfigError where it is not installed."""

    @property
    @abstractmethod
    def options(self) -> str:
        """Every option that can change a result, for the run key."""

    @abstractmethod
    def compile(self, model: onnx.ModelProto) -> Compiled:
        """The engine of a float or Q/DQ model; raises EngineError if the builder refuses it."""

    def compile_int8(self, qdq: onnx.ModelProto) -> Compiled:
        """The engine of a Q/DQ model, whose float layers may get another precision."""
        return self.compile(qdq)

    def runner(self) -> Engine | None:
        """The engine that runs the built file here, if this machine is one of its targets."""
        return None


@runtime_checkable
class Calibrating(Protocol):
    """An engine with native calibrators."""

    @property
    def calibrates(self) -> bool:
        """Whether its present mode uses them: it then takes ranges, not Q/DQ."""
        ...

    def calibrate(
        self,
        model: onnx.ModelProto,
        calibrator: NativeCalibrator,
        batches: Iterator[Array],
        count: int,
    ) -> NativeCalibration:
        """Feed it ``count`` batches (batch size, 3, height, width); the model's batch is that size.

        Raises EngineError if it refuses the model or does not read every batch.
        """
        ...


@runtime_checkable
class HalfPrecision(Protocol):
    """An engine that also runs a network in FP16: there INT8 has to beat FP16, not FP32."""

    def build_fp16(self, model: onnx.ModelProto) -> Session:
        """A session in FP16 for a float model with a fixed batch; raises EngineError."""
        ...


@runtime_checkable
class Loading(Protocol):
    """An engine that also runs a serialized engine of the user's, which is trusted like a
    program."""

    def load(
        self, path: Path, model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]
    ) -> Session:
        """A session for the serialized engine at ``path``, which was built from ``model``: FP32,
        with a fixed batch.

        ``shapes`` has the shape of every input and output at a batch of one image. Raises
        ModelError for a file that cannot be loaded here, or has other inputs or outputs.
        """
        ...


@runtime_checkable
class Emulating(Protocol):
    """An engine that can also compute a Q/DQ file exactly in float, without its INT8 kernels.

    Exactly means: every sum of products equals that in int32, up to the rounding of float32.
    """

    @property
    def accuracy_by(self) -> AccuracyChoice: ...

    def build_exact(self, qdq: onnx.ModelProto) -> Session:
        """A session for a Q/DQ model with a fixed batch; raises EngineError if it is refused."""
        ...


MOST_THREADS = 1024


def check_cpu_options(threads: int, accuracy_by: str) -> None:
    """Raise ConfigError for options that an engine on the CPU cannot have."""
    if threads < 0:
        raise ConfigError(f"engine.threads={threads} is below 0", "Use 0 for all cores, or more")
    if threads > MOST_THREADS:
        raise ConfigError(
            f"engine.threads={threads} is more than {MOST_THREADS}", "Use 0 for all cores, or fewer"
        )
    known = get_args(AccuracyChoice)
    if accuracy_by not in known:
        raise ConfigError(
            f"engine.accuracy_by={accuracy_by} is unknown", f"Use {' or '.join(known)}"
        )


def calibrates(engine: Engine | AotCompiler) -> bool:
    """Whether an engine quantizes implicitly, with native calibrators."""
    return isinstance(engine, Calibrating) and engine.calibrates


def others_natively(engine: Engine | AotCompiler) -> bool:
    """Whether tensors that our rules leave out get ranges from the engine's native calibrator."""
    return calibrates(engine) and getattr(engine, "others", "") == "native"


_TOLD_ELSEWHERE = frozenset({"name", "threads", "compute_capability", "cache"})


def unusual_options(engine: Any) -> str:
    """Options of an engine that differ from the default and can change a result: "streams=4".

    ``engine`` is an ``Engine`` or ``AotCompiler``; options with a column elsewhere are left out.
    """
    texts = []
    for option in fields(engine):
        value = getattr(engine, option.name)
        if is_dataclass(value):  # an engine's builder
            texts.append(unusual_options(value))
        elif value != option.default and option.name not in _TOLD_ELSEWHERE:
            texts.append(f"{option.name}={value}")
    return ", ".join(filter(None, texts))
