"""TensorRT 8.5 to 11 on an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import onnx

from bench.cache import content_key
from bench.calibration.native import NativeCalibration, NativeCalibrator
from bench.engine.base import Array, Int8Model
from bench.engine.trt.builder import (
    Settings,
    build_explicit,
    build_float,
    build_half,
    build_implicit,
    check_settings,
)
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.engine_store import Plan, build_once
from bench.engine.trt.native_calibration import calibrate_apart
from bench.engine.trt.runtime import LoadError, TensorRtSession
from bench.engine.trt.serialized import open_serialized
from bench.engine.trt.session import open_session
from bench.engine.trt.tactics import usual_sources
from bench.engine.trt.version import check_implicit, has, load_tensorrt, number
from bench.errors import ConfigError
from bench.model.edit import with_open_batch
from bench.model.half import to_half
from bench.quantization.grid import Scheme

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

Mode = Literal["explicit", "implicit"]
Ranges = Literal["cache", "dynamic"]
Others = Literal["derived", "native"]

BUILD_VERSION = 3
"""Part of every engine's key on disk: increase it when the builder's settings change."""

_OWN_RANGES = "EntropyCalibration2"
"""The algorithm named in caches with ranges of our rules."""


@dataclass(frozen=True)
class TensorRt:
    """``mode``: explicit (Q/DQ in the file, 8.5 to 11) or implicit (ranges beside it, 8.5 to 10).

    ``half`` lets layers that are not INT8 run in FP16, and those that a plan keeps in float, as
    NVIDIA's and Ultralytics' recipes for INT8 do; False keeps them in FP32.
    ``ranges``: how implicit mode passes ranges, as a calibration cache or as dynamic ranges.
    ``others``: the ranges of tensors for which our rule gives none. derived: they follow from the
    tensors beside them. native: TensorRT's ``entropy2`` calibrates them on the same images, and
    tensors without a native range get none; use it to compare rules with native calibrators.
    ``workspace_gb``: most scratch memory of a layer (GiB). ``optimization_level``: 0 to 5; None:
    the default of the version. ``tactic_sources``: libraries with kernels; None: the default of the
    version, but EDGE_MASK_CONVOLUTIONS and JIT_CONVOLUTIONS for 8.5 without cuDNN or cuBLAS.
    ``profile``: least, best and largest batch of an engine with an open batch; None fixes it.
    ``cuda_graphs``: launch an inference as one recorded graph; None: at batch 1 if the engine can
    be recorded, since launching the kernels one by one may take longer than running them.
    ``streams``: inferences in flight for the throughput. ``cache``: folder for engines.

    Raises ConfigError for an invalid value; its version raises it for a TensorRT that is absent or
    lacks the mode, and its options raise it where there is no GPU.
    """

    mode: Mode = "explicit"
    half: bool = True
    ranges: Ranges = "cache"
    others: Others = "derived"
    workspace_gb: float = 4.0
    optimization_level: int | None = None
    tactic_sources: tuple[str, ...] | None = None
    profile: tuple[int, ...] | None = None
    cuda_graphs: bool | None = None
    streams: int = 1
    cache: str = ".cache/bench"
    name: ClassVar[str] = "tensorrt"
    threads: ClassVar[int] = 0
    schemes: ClassVar[tuple[Scheme, ...]] = ("symmetric",)

    def __post_init__(self) -> None:
        for option in ("tactic_sources", "profile"):  # lists, as configuration gives them
            value = getattr(self, option)
            object.__setattr__(self, option, None if value is None else tuple(value))
        if self.mode not in get_args(Mode):
            raise ConfigError(f"engine.mode={self.mode} is unknown", "Use explicit or implicit")
        if self.ranges not in get_args(Ranges):
            raise ConfigError(f"engine.ranges={self.ranges} is unknown", "Use cache or dynamic")
        if self.others not in get_args(Others):
            raise ConfigError(f"engine.others={self.others} is unknown", "Use derived or native")
        if not 0 < self.workspace_gb < math.inf:
            raise ConfigError(
                f"engine.workspace_gb={self.workspace_gb} is too small", "Use 1 or more"
            )
        if self.streams < 1:
            raise ConfigError(f"engine.streams={self.streams} is below 1", "Use 1 or more")
        if self.optimization_level not in (None, 0, 1, 2, 3, 4, 5):
            raise ConfigError(
                f"engine.optimization_level={self.optimization_level} is unknown", "Use 0 to 5"
            )
        if self.profile is not None and not (
            len(self.profile) == 3
            and all(isinstance(batch, int) for batch in self.profile)
            and 1 <= self.profile[0] <= self.profile[1] <= self.profile[2]
        ):
            raise ConfigError(
                f"engine.profile={list(self.profile)} is not a profile",
                "Give the least, the best and the largest batch, such as [1,8,32]",
            )

    @property
    def version(self) -> str:
        """TensorRT's version, after checking that it has the mode and the options."""
        trt = load_tensorrt()
        if self.calibrates:
            check_implicit(trt)
        check_settings(trt, self.settings)
        if self.profile is not None and self.streams > 1 and number(trt) < (10, 0):
            # Its contexts cannot share a profile (IExecutionContext::setOptimizationProfileAsync).
            raise ConfigError(
                f"TensorRT {trt.__version__} runs an engine with a profile in one stream only",
                "Drop engine.streams or engine.profile, or use TensorRT 10 or newer",
            )
        return str(trt.__version__)

    @property
    def options(self) -> str:
        options_text = ", ".join(
            f"{key}={value}" for key, value in vars(self).items() if key != "cache"
        )
        return f"{options_text}, {find_gpu()}"

    @property
    def calibrates(self) -> bool:
        return self.mode == "implicit"

    def build(self, model: onnx.ModelProto) -> TensorRtSession:
        trt = load_tensorrt()
        opened = self._opened(model)
        return self._session(trt, opened, "fp32", partial(build_float, trt, opened))

    def build_fp16(self, model: onnx.ModelProto) -> TensorRtSession:
        trt = load_tensorrt()
        opened = self._opened(model)
        if has(trt, "BuilderFlag.FP16"):
            return self._session(trt, opened, "fp16", partial(build_half, trt, opened))
        half = to_half(opened)
        return self._session(trt, half, "fp16", partial(build_float, trt, half))

    def build_int8(self, model: Int8Model) -> TensorRtSession:
        trt = load_tensorrt()
        if not self.calibrates:
            by_type = self.half and not has(trt, "BuilderFlag.FP16")
            opened = self._opened(to_half(model.qdq) if by_type else model.qdq)
            return self._session(trt, opened, "explicit", partial(build_explicit, trt, opened))
        opened = self._opened(model.fp32)
        header = None if self.ranges == "dynamic" else model.algorithm or _OWN_RANGES
        given = (dict(model.amax), model.float_nodes)
        what = f"implicit {header} {sorted(model.amax.items())} {sorted(model.float_nodes)}"
        build = partial(build_implicit, trt, opened, *given, header=header)
        return self._session(trt, opened, what, build)

    def load(
        self, path: Path, model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]
    ) -> TensorRtSession:
        trt = load_tensorrt()
        return open_serialized(trt, path, model, shapes, self.cuda_graphs, self.streams)

    def calibrate(
        self,
        model: onnx.ModelProto,
        calibrator: NativeCalibrator,
        batches: Iterator[Array],
        count: int,
    ) -> NativeCalibration:
        check_implicit(load_tensorrt())
        return calibrate_apart(model, calibrator, batches, count, self.settings)

    @property
    def settings(self) -> Settings:
        """The builder's settings in every mode."""
        sources = usual_sources(load_tensorrt(), self.tactic_sources)
        return Settings(
            self.half, self.workspace_gb, self.optimization_level, sources, self.profile,
            Path(self.cache) / "tensorrt",
        )  # fmt: skip

    def _opened(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """With a profile, a copy whose batch is open again."""
        if self.profile is None:
            return model
        return with_open_batch(model)

    def _session(
        self, trt: TensorRT, model: onnx.ModelProto, what: str, build: Callable[..., Plan]
    ) -> TensorRtSession:
        """The engine from disk, or built now; one that TensorRT cannot load is built again."""
        settings = self.settings
        if what in ("fp32", "fp16"):  # one engine for both values of half
            settings = replace(settings, half=False)
        content = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        # Streams, graphs and the folder do not change the engine.
        keyed = replace(settings, folder=Path())
        key = content_key(BUILD_VERSION, trt.__version__, keyed, find_gpu(), content, what)
        path = settings.folder / f"{key}.engine"
        make = partial(build_once, path, partial(build, settings=settings))
        try:
            return open_session(trt, make(), model, self.cuda_graphs, self.streams)
        except LoadError:
            path.unlink(missing_ok=True)  # another process may have been faster
        return open_session(trt, make(), model, self.cuda_graphs, self.streams)
