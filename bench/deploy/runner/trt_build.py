"""TensorRT's builder, 8.5 to 11: FP32, FP16, INT8 from a Q/DQ file, INT8 from a cache, calibration.

Nothing here has met a GPU yet. It follows the documented API, the bindings' names, and a stand-in.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Callable

import numpy as np

from bench.deploy.runner.cuda import Buffer, Cuda, load_cuda
from bench.deploy.runner.files import Images
from bench.deploy.runner.ground import KitError, NotHereError, one_line, write_whole

CALIBRATORS = {
    "minmax": ("IInt8MinMaxCalibrator", "MinMaxCalibration"),
    "entropy": ("IInt8EntropyCalibrator", "EntropyCalibration"),
    "entropy2": ("IInt8EntropyCalibrator2", "EntropyCalibration2"),
    "legacy": ("IInt8LegacyCalibrator", "LegacyCalibration"),
}
"""TensorRT's class, and what it calls the algorithm in the first line of a cache."""


def load_tensorrt() -> Any:
    """The module; NotHereError where it is absent or of another age."""
    try:
        trt = importlib.import_module("tensorrt")
        version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    except (ImportError, OSError, AttributeError, ValueError) as error:
        raise NotHereError(
            f"TensorRT's Python package is not here ({one_line(error)}). On a Jetson: sudo apt "
            "install python3-libnvinfer-dev; a virtual environment needs --system-site-packages"
        ) from error
    if not (8, 5) <= version < (12, 0):
        raise NotHereError(f"TensorRT {trt.__version__} is not one of 8.5 to 11")
    return trt


class Options:
    """How engines are built; all of it goes into every result."""

    def __init__(
        self, half: bool, dla: int | None, workspace_gb: float, tactic_sources: str
    ) -> None:
        self.half, self.dla, self.workspace_gb = half, dla, workspace_gb
        self.tactic_sources = tactic_sources


class TrtBuilder:
    """One builder with its configuration; ``timings`` is the file of the timing cache."""

    def __init__(self, trt: Any, options: Options, timings: Path) -> None:
        self.trt, self.options, self._timings = trt, options, timings
        self.major = int(trt.__version__.split(".")[0])
        self.log = make_log(trt)
        try:
            self._builder = trt.Builder(self.log)
        except TypeError:
            raise NotHereError(f"TensorRT cannot start a builder ({self.log.reason})") from None
        self.config = self._configure()

    def _configure(self) -> Any:
        trt, config = self.trt, self._builder.create_builder_config()
        room = int(self.options.workspace_gb * 2**30)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, room)
        config.clear_flag(trt.BuilderFlag.TF32)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector
        if self.options.dla is not None:
            config.default_device_type = trt.DeviceType.DLA
            config.DLA_core = self.options.dla
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        if self.options.tactic_sources:
            config.set_tactic_sources(self._sources())
        known = self._timings.read_bytes() if self._timings.is_file() else b""
        cache = config.create_timing_cache(known)
        if cache is not None:
            config.set_timing_cache(cache, False)
        return config

    def _sources(self) -> int:
        """The libraries to take kernels from, as a mask."""
        known = self.trt.TacticSource.__members__
        mask = 0
        for name in self.options.tactic_sources.split(","):
            if name not in known:
                raise KitError(f"TensorRT has no tactic source {name}. Use {', '.join(known)}")
            mask |= 1 << int(known[name])
        return mask

    def _flag(self, name: str) -> None:
        flag = getattr(self.trt.BuilderFlag, name, None)
        if flag is None:
            raise NotHereError(f"TensorRT {self.trt.__version__} has no flag {name}")
        self.config.set_flag(flag)

    def _parse(self, model: bytes, strong: bool) -> Any:
        kinds, flags = self.trt.NetworkDefinitionCreationFlag, 0
        if self.major < 10:
            flags |= 1 << int(kinds.EXPLICIT_BATCH)
        if strong and self.major >= 10:
            flags |= 1 << int(kinds.STRONGLY_TYPED)
        network = self._builder.create_network(flags)
        parser = self.trt.OnnxParser(network, self.log)
        if not parser.parse(model):
            said = parser.get_error(0).desc() if parser.num_errors else self.log.reason
            raise KitError("TensorRT cannot parse the model ({})".format(" ".join(said.split())))
        self._parser = parser  # the network's weights live as long as it does
        return network

    def _build(self, network: Any) -> bytes:
        plan = self._builder.build_serialized_network(network, self.config)
        if plan is None:
            raise KitError(f"TensorRT cannot build the model ({self.log.reason})")
        timings = self.config.get_timing_cache()
        if timings is not None:
            write_whole(self._timings, bytes(timings.serialize()))
        return bytes(plan)

    def float32(self, model: bytes) -> bytes:
        return self._build(self._parse(model, strong=True))

    def float16(self, model: bytes, half: bytes) -> bytes:
        """From the FP32 file and a flag; from TensorRT 11 on, which takes precisions from the file
        alone, from ``half``, the FP16 file: NotHereError where the kit has none."""
        if hasattr(self.trt.BuilderFlag, "FP16"):
            self._flag("FP16")
            return self._build(self._parse(model, strong=False))
        if not half:
            raise NotHereError(
                f"TensorRT {self.trt.__version__} takes FP16 from an FP16 file alone, and this kit "
                "has none: int8bench kit --fp16 makes one with it"
            )
        return self._build(self._parse(half, strong=True))

    def explicit(self, model: bytes) -> bytes:
        """From a Q/DQ file; in its float layers FP16 is allowed if the options say so."""
        if self.options.dla is not None and self.major <= 10:
            raise NotHereError(
                "the DLA takes no Q/DQ file before TensorRT 11. Rows with a cache run there"
            )
        strong = self.major >= 10 and not self.options.half
        network = self._parse(model, strong)
        if not strong:
            self._flag("INT8")
            if self.options.half:
                self._flag("FP16")
        return self._build(network)

    def implicit(self, model: bytes, cache: bytes, in_float: dict[str, list[str]]) -> bytes:
        """From the FP32 file and a calibration cache; ``in_float``: node -> its outputs."""
        network = self._parse(model, strong=False)
        self._flag("INT8")
        if self.options.half:
            self._flag("FP16")
        if in_float:
            self._flag("OBEY_PRECISION_CONSTRAINTS")
            self._keep_in_float(network, in_float)
        header = self._header(cache)
        reading = _make_calibrator(self.trt, header[1], _Reading(header[0]))
        self.config.int8_calibrator = reading
        plan = self._build(network)
        if reading.part.asked:
            raise KitError(f"TensorRT {self.trt.__version__} did not take the cache")
        return plan

    def _header(self, cache: bytes) -> tuple[bytes, str]:
        """The cache with the first line that this version takes, and its algorithm."""
        first, _, rest = cache.partition(b"\n")
        found = re.match(r"TRT-\d+-(\w+)$", first.decode().strip())
        if not found:
            raise KitError(f"a calibration cache begins with {first[:40]!r}")
        line = f"TRT-{version_digits(self.trt.__version__)}-{found.group(1)}\n"
        return line.encode() + rest, found.group(1)

    def _keep_in_float(self, network: Any, in_float: dict[str, list[str]]) -> None:
        trt = self.trt
        kind = trt.float16 if self.options.half else trt.float32
        names = {name for node, outputs in in_float.items() for name in [node] + outputs}
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
            floats = all(tensor.dtype in (trt.float32, trt.float16) for tensor in outputs)
            if floats and names.intersection([layer.name] + [own.name for own in outputs]):
                layer.precision = kind
                for i in range(layer.num_outputs):
                    layer.set_output_type(i, kind)

    def calibrate(
        self,
        model: bytes,
        algorithm: str,
        images: Images,
        count: int,
        written: Callable[[bytes, int], None],
    ) -> None:
        """Let TensorRT's own calibrator see ``count`` images; ``written`` gets its cache, and how
        many batches were read, as soon as it is there: it may end the process, as the engine that
        TensorRT builds then is not needed."""
        if not hasattr(self.trt, CALIBRATORS[algorithm][0]):
            raise NotHereError(f"TensorRT {self.trt.__version__} has no calibrators")
        network = self._parse(model, strong=False)
        shape = [int(side) for side in network.get_input(0).shape]
        cuda = Cuda(load_cuda())
        feeding = _Feeding(cuda, images, shape, count, written)
        self._flag("INT8")
        self.config.int8_calibrator = _make_calibrator(self.trt, CALIBRATORS[algorithm][1], feeding)
        try:
            self._build(network)
        finally:
            if feeding.error is not None:  # TensorRT drops what get_batch raises
                raise feeding.error
        raise KitError("TensorRT calibrated, but wrote no ranges")


def version_digits(version: str) -> str:
    """8.5.1 -> 8501, 10.3.0 -> 100300, as caches have it."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    return str(major * (10000 if major >= 10 else 1000) + minor * 100 + patch)


class _Reading:
    """A calibrator's part that hands a cache over, and no batch."""

    def __init__(self, cache: bytes) -> None:
        self._cache, self.asked = cache, False

    def batch_size(self) -> int:
        return 1

    def batch(self) -> list[int] | None:
        self.asked = True
        return None

    def read(self) -> bytes | None:
        return self._cache

    def write(self, cache: bytes) -> None:
        return None


class _Feeding:
    """A calibrator's part that feeds images, in the network's own batch size."""

    def __init__(
        self,
        cuda: Cuda,
        images: Images,
        shape: list[int],
        count: int,
        written: Callable[[bytes, int], None],
    ) -> None:
        self._cuda, self._images, self._count, self._written = cuda, images, count, written
        self._buffer = Buffer(cuda, shape, np.float32)
        self._size, self._at = shape[0], 0
        self.error: BaseException | None = None

    def batch_size(self) -> int:
        return self._size

    def batch(self) -> list[int] | None:
        if self.error is not None or self._at + self._size > self._count:
            return None
        try:
            self._buffer.host[...] = self._images.batch(self._at, self._size)
            self._buffer.push(0)
            self._cuda.call("cudaDeviceSynchronize")
        except BaseException as error:
            self.error = error
            return None
        self._at += self._size
        return [self._buffer.pointer]

    def read(self) -> bytes | None:
        return None

    def write(self, cache: bytes) -> None:
        self._written(cache, self._at // self._size)


def _make_calibrator(trt: Any, header: str, part: Any) -> Any:
    """An object of TensorRT's class for this algorithm that asks ``part``."""
    (name,) = [own for own, algorithm in CALIBRATORS.values() if algorithm == header]
    base = getattr(trt, name, None)
    if base is None:
        raise NotHereError(f"TensorRT {trt.__version__} takes no calibration caches")

    class Calibrator(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.part = part

        def get_batch_size(self) -> int:
            return int(part.batch_size())

        def get_batch(self, names: Any) -> Any:
            return part.batch()

        def read_calibration_cache(self) -> Any:
            return part.read()

        def write_calibration_cache(self, cache: Any) -> None:
            part.write(bytes(cache))

        def get_quantile(self) -> float:
            return 0.9999

        def get_regression_cutoff(self) -> float:
            return 1.0

        def read_histogram_cache(self, length: int) -> Any:
            return None

        def write_histogram_cache(self, pointer: Any, length: int) -> None:
            return None

    return Calibrator()


def make_log(trt: Any) -> Any:
    """A logger that keeps errors instead of printing them; ``reason`` is the first one."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            kinds = trt.ILogger
            if severity in (kinds.ERROR, kinds.INTERNAL_ERROR):
                self.errors.append(" ".join(msg.split()))
            elif severity == kinds.WARNING:
                self.warnings.append(" ".join(msg.split()))

        @property
        def reason(self) -> str:
            lines = self.errors[:1] or self.warnings[-1:]
            return lines[0][:300] if lines else "without a reason"

    return Log()
