"""TensorRT's builder: FP32, FP16, explicit INT8 and implicit INT8.

Explicit quantization (Q/DQ in the ONNX file) exists in every version; from 10 on the network is
strongly typed unless FP16 is asked for, and in 11 always. Implicit quantization (ranges beside an
FP32 file) ended with 10. Sources: NVIDIA's developer guides of 8.5 and 10, and the migration guide
to 11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from bench.cache import content_key, write_atomically
from bench.engine.trt.build_log import missing_scales, open_log, reason
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.engine_store import Plan
from bench.engine.trt.float_weights import with_float_weights
from bench.engine.trt.native_calibrator import make_reading
from bench.engine.trt.network import (
    add_profile,
    keep_in_float,
    make_builder,
    parse_network,
    set_ranges,
)
from bench.engine.trt.unnamed_ranges import with_unnamed
from bench.engine.trt.version import check_implicit, has
from bench.errors import ConfigError, EngineError
from bench.sealed import DamagedError, read_sealed, seal, warn

if TYPE_CHECKING:
    from tensorrt_api import IBuilderConfig, INetworkDefinition, IOptimizationProfile, TensorRT

_STRONG = "NetworkDefinitionCreationFlag.STRONGLY_TYPED"


@dataclass(frozen=True)
class Settings:
    """The builder's settings in every mode, and where it stores timings; see ``TensorRt``."""

    half: bool
    workspace_gb: float
    optimization_level: int | None
    tactic_sources: tuple[str, ...] | None
    profile: tuple[int, ...] | None
    folder: Path


def check_settings(trt: TensorRT, settings: Settings) -> None:
    """Raise ConfigError for options that this version of TensorRT does not have."""
    if settings.optimization_level is not None and not has(
        trt, "IBuilderConfig.builder_optimization_level"
    ):
        raise ConfigError(
            f"TensorRT {trt.__version__} has no builder optimization level",
            "Drop engine.optimization_level, or use 8.6 or newer",
        )
    known = trt.TacticSource.__members__
    for name in settings.tactic_sources or ():
        if name not in known:
            raise ConfigError(
                f"engine.tactic_sources: TensorRT {trt.__version__} has no {name}",
                f"Use some of {', '.join(known)}",
            )


def build_float(trt: TensorRT, model: onnx.ModelProto, settings: Settings) -> Plan:
    """An engine in FP32, without TF32's shorter products; raises EngineError."""
    job = Job(trt, settings)
    return job.build(job.parse(model, strong=has(trt, _STRONG)))


def build_half(trt: TensorRT, model: onnx.ModelProto, settings: Settings) -> Plan:
    """An engine in FP16, whose builder may leave a layer in FP32; raises EngineError.

    From 11 on there is no such flag: pass a file in FP16 to ``build_float``.
    """
    job = Job(trt, settings)
    job.config.set_flag(trt.BuilderFlag.FP16)
    return job.build(job.parse(model, strong=False))


def build_explicit(trt: TensorRT, model: onnx.ModelProto, settings: Settings) -> Plan:
    """An engine from a file with Q/DQ; raises EngineError.

    From 11 on ``half`` has no flag: pass a file in FP16.
    """
    job = Job(trt, settings)
    by_flags = settings.half and has(trt, "BuilderFlag.FP16")
    strong = has(trt, _STRONG) and not by_flags
    network = job.parse(model if has(trt, _STRONG) else with_float_weights(model), strong)
    if not strong:
        job.allow_int8()
    return job.build(network)


def build_implicit(
    trt: TensorRT,
    model: onnx.ModelProto,
    amax: Mapping[str, float],
    float_nodes: frozenset[str],
    settings: Settings,
    header: str | None,
) -> Plan:
    """An engine from an FP32 file and the tensors' ranges.

    Tensors of TensorRT's network that the file does not name get derived ranges (see
    ``with_unnamed``). The ranges are passed as a calibration cache of the algorithm ``header``, or,
    if that is None, as dynamic ranges. Raises ConfigError for TensorRT 11, EngineError if TensorRT
    refuses.
    """
    check_implicit(trt)
    job = Job(trt, settings)
    network = job.parse(model, strong=False)
    job.allow_int8()
    if float_nodes:
        job.config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        keep_in_float(trt, network, model, float_nodes, settings.half)
    ranges = with_unnamed(trt, network, amax)
    if header is None:
        set_ranges(network, ranges)
        return job.build(network)
    reading = make_reading(trt, ranges, header)
    job.config.int8_calibrator = reading
    if job.profile is not None:
        job.config.set_calibration_profile(job.profile)
    try:
        return job.build(network)
    finally:
        reading.check()


class Job:
    """One builder with its configuration and log."""

    def __init__(self, trt: TensorRT, settings: Settings) -> None:
        self._trt, self._settings = trt, settings
        self._timing_file = (
            settings.folder / f"timings-{content_key(trt.__version__, find_gpu())}.sealed"
        )
        self._log = open_log(trt)
        self._builder = make_builder(trt, self._log)
        self.config = self._configure()
        self.profile: IOptimizationProfile | None = None

    def _configure(self) -> IBuilderConfig:
        trt, settings = self._trt, self._settings
        config = self._builder.create_builder_config()
        room = math.floor(settings.workspace_gb * 2**30)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, room)
        config.clear_flag(trt.BuilderFlag.TF32)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector
        if settings.optimization_level is not None:
            config.builder_optimization_level = settings.optimization_level
        if settings.tactic_sources is not None:
            chosen = (trt.TacticSource.__members__[name] for name in settings.tactic_sources)
            if not config.set_tactic_sources(sum(1 << int(source) for source in chosen)):
                raise ConfigError(
                    f"TensorRT {trt.__version__} does not take engine.tactic_sources="
                    f"{','.join(settings.tactic_sources)}",
                    "Use others, or none",
                )
        known = b""
        try:
            known = read_sealed(self._timing_file)
        except FileNotFoundError:
            pass
        except DamagedError as error:
            warn(f"{error}. Kernels are timed again")
        config.set_timing_cache(config.create_timing_cache(known), False)
        return config

    def parse(self, model: onnx.ModelProto, strong: bool) -> INetworkDefinition:
        network = parse_network(self._trt, self._log, self._builder, model, strong)
        if self._settings.profile:
            batches = self._settings.profile
            self.profile = add_profile(self._builder, network, self.config, batches)
        return network

    def allow_int8(self) -> None:
        self.config.set_flag(self._trt.BuilderFlag.INT8)
        if self._settings.half:
            self.config.set_flag(self._trt.BuilderFlag.FP16)

    def build(self, network: INetworkDefinition) -> Plan:
        plan = self._builder.build_serialized_network(network, self.config)
        if plan is None:
            raise EngineError(f"TensorRT cannot build the model ({reason(self._log)})")
        if timings := self.config.get_timing_cache():
            write_atomically(self._timing_file, seal(bytes(timings.serialize()), self._timing_file))
        return Plan(bytes(plan), missing_scales(self._log))
