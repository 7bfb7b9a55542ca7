"""A stand-in for TensorRT that behaves as its documentation says, on a machine without a GPU.

Only the tests put this folder on the path. ``FAKE_TENSORRT`` is the version it claims to be, and of
what is written here nothing is left that the list of that version's names
(``tests/engine/tensorrt_api``) has not. It runs networks in ONNX Runtime, with Q/DQ put in front of
the layers that would be INT8, so that ranges show in the outputs.

What it mimics: a calibrator is asked for batches until it gives none; an exception of its own is
swallowed; a cache is taken only if the header names this version and the algorithm; a failed build
gives None and a message; an engine of another version or GPU is not loaded; messages go to the
logger that came first, as long as somebody uses it; before 10 there are no constants of INT8, and
up to 10.1 none of a convolution's ``kernel_shape`` is read off quantized weights; a tensor without
a range is warned of and the layers beside it stay in float; layers that move values take no
precision; a calibration outlives the build that fails behind it. ``FAKE_NO_IMPLEMENTATION`` and
``FAKE_CRASH`` make that fail, ``FAKE_MISSING_LIBRARIES`` are what 8.5 cannot load.
"""

import json
import os

from .emulation import MOVING, calibrate, information, quantized, without_scale
from .names import (
    CAPABILITY,
    GPU,
    MAGIC,
    MAJOR,
    NAMES,
    BuilderFlag,
    ComputeCapability,
    DataType,
    ElementWiseOperation,
    ILogger,
    LayerInformationFormat,
    LayerType,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ProfilingVerbosity,
    Strict,
    TacticSource,
    TensorIOMode,
    __version__,
    registered,
)
from .network import (
    IConstantLayer,
    IElementWiseLayer,
    ILayer,
    INetworkDefinition,
    ITensor,
    OnnxParser,
)
from .runtime import EngineInspector, ICudaEngine, IExecutionContext, IProfiler, Runtime, read

__all__ = [
    "BuilderFlag", "ComputeCapability", "ElementWiseOperation", "EngineInspector",
    "IConstantLayer", "ICudaEngine", "IElementWiseLayer", "IExecutionContext", "ILayer",
    "IProfiler", "ITensor",
    "LayerInformationFormat", "LayerType", "MemoryPoolType", "NetworkDefinitionCreationFlag",
    "OnnxParser", "Runtime", "TacticSource", "TensorIOMode",
]  # fmt: skip
_OWN = {__name__, *(f"{__name__}.{name}" for name in ("names", "network", "runtime"))}
float32, float16 = DataType.FLOAT, DataType.HALF


class _Calibrator:
    """The base class must be initialised by whoever derives from it."""

    _ready = False

    def __init__(self):
        self._ready = True


class IInt8MinMaxCalibrator(_Calibrator):
    _header = "MinMaxCalibration"


class IInt8EntropyCalibrator(_Calibrator):
    _header = "EntropyCalibration"


class IInt8EntropyCalibrator2(_Calibrator):
    _header = "EntropyCalibration2"


class IInt8LegacyCalibrator(_Calibrator):
    _header = "LegacyCalibration"


class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):
        self._shapes[input] = tuple(min), tuple(opt), tuple(max)


class IHostMemory:
    def __init__(self, content):
        self._content = content

    def __bytes__(self):
        return self._content


class ITimingCache:
    def __init__(self, content):
        self._content = content

    def serialize(self):
        return IHostMemory(self._content)


class IBuilderConfig(Strict):
    def __init__(self):
        self._flags = {"TF32"}
        self._calibrator = self._profile = self._timings = self._sources = None
        self._limits, self._capability = {}, CAPABILITY
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    @property
    def int8_calibrator(self):
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, calibrator):
        if not calibrator._ready:
            raise TypeError("__init__() of the calibrator's base class was not called")
        self._calibrator = calibrator

    def set_compute_capability(self, compute_capability, idx):
        self._capability = compute_capability.name

    def set_flag(self, flag):
        self._flags.add(flag.name)

    def clear_flag(self, flag):
        self._flags.discard(flag.name)

    def set_memory_pool_limit(self, pool, pool_size):
        self._limits[pool.name] = pool_size

    def set_tactic_sources(self, tactic_sources):
        self._sources = tactic_sources
        return True

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache) or b"timings")

    def set_timing_cache(self, cache, ignore_mismatch):
        self._timings = cache
        return True

    def get_timing_cache(self):
        return self._timings

    def set_calibration_profile(self, profile):
        self._calibration_profile = profile
        return True

    def add_optimization_profile(self, profile):
        self._profile = profile
        return 0


class Builder:
    def __init__(self, logger):
        self._log = registered(self, logger)
        if os.environ.get("FAKE_NO_DRIVER"):
            logger.log(ILogger.WARNING, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        try:
            return IHostMemory(MAGIC + _build(network, config, self._log).encode())
        except ValueError as error:
            self._log.log(ILogger.ERROR, f"4: [builder] {error}")
            return None


def _build(network, config, log):
    read, flags = network._onnx, config._flags
    missing = os.environ.get("FAKE_MISSING_LIBRARIES", "").split()
    if __version__.startswith("8.5"):
        for library in missing:
            source = "CUDNN" if "cudnn" in library else "CUBLAS"
            if config._sources is None or config._sources >> int(TacticSource[source]) & 1:
                raise ValueError(f"Unable to load library: {library}")
    if -1 in network.get_input(0).shape and config._profile is None:
        raise ValueError("Network has dynamic inputs, but no optimization profile is defined")
    if network._strong and flags & {"INT8", "FP16"}:
        raise ValueError("A strongly typed network takes no precision flags")
    if read.int8_products and not network._strong and "INT8" not in flags:
        raise ValueError("The network has Q/DQ, but INT8 is not configured in the builder")
    model, int8 = read.content, read.int8_products
    if "INT8" in flags and not int8:
        ranges = _ranges(network, config, log)
        obeyed = "OBEY_PRECISION_CONSTRAINTS" in flags
        bound = [layer for layer in network._layers if obeyed and layer._precision is not None]
        for layer in bound:
            if layer.type.name in MOVING:
                raise ValueError(f"Could not find any implementation for node {layer.name}.")
        missing, beside = without_scale(read, ranges)
        for name in missing:
            log.log(
                ILogger.WARNING,
                f"Missing scale and zero-point for tensor {name}, expect fall back to non-int8 "
                "implementation for any layer consuming or producing given tensor",
            )
        model, int8 = quantized(read, ranges, {layer._node for layer in bound} | beside)
    detailed = config.profiling_verbosity == ProfilingVerbosity.DETAILED
    profile = config._profile._shapes[read.input] if config._profile else None
    return json.dumps(
        {
            "version": __version__,
            "gpu": GPU,
            "capability": config._capability,
            "model": model.hex(),
            "input": read.input,
            "shape": list(network.get_input(0).shape),
            "profile": profile,
            "information": information(read, int8, MAJOR) if detailed else "{}",
        }
    )


def _ranges(network, config, log):
    """Tensor -> amax, from the calibrator if there is one, else from the dynamic ranges."""
    calibrator = config._calibrator
    if calibrator is None:
        given = [*network._inputs, *(o for layer in network._layers for o in layer._outputs)]
        found = {tensor.name: tensor._amax for tensor in given if tensor._amax is not None}
    else:
        major, minor, patch = map(int, __version__.split(".")[:3])
        digits = major * (1000 if major < 10 else 10000) + minor * 100 + patch
        header = f"TRT-{digits}-{calibrator._header}"
        if os.environ.get("FAKE_CRASH") == "while it calibrates":
            os.abort()
        found = calibrate(network._onnx, calibrator, header, read, log)
        if os.environ.get("FAKE_NO_IMPLEMENTATION"):  # ultralytics issue 19518
            raise ValueError("Could not find any implementation for node stem + relu.")
        if os.environ.get("FAKE_CRASH"):
            os.abort()
        if zero := [name for name, amax in found.items() if amax == 0]:  # NVIDIA/TensorRT 4446
            raise ValueError(f"Calibration failure: {zero[0]} has scale 0")
    if not found:
        raise ValueError("Calibration failure occurred with no scaling factors detected")
    return found


def _drop_what_this_version_has_not():
    for name, value in list(globals().items()):
        if name.startswith("_") or not isinstance(value, type):
            continue
        if name not in NAMES:
            if value.__module__ in _OWN:
                del globals()[name]
            continue
        for member in list(vars(value)):
            if not member.startswith("_") and f"{name}.{member}" not in NAMES:
                delattr(value, member)


_drop_what_this_version_has_not()
