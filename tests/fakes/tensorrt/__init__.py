"""A stand-in for TensorRT that behaves as its documentation says, on a machine without a GPU.

Only the tests put this folder on the path. ``FAKE_TENSORRT`` is the version it claims to be, and of
what is written here nothing is left that the list of that version's names
(``tests/engine/tensorrt_api``) has not. It runs networks in ONNX Runtime, with Q/DQ put in front of
the layers that would be INT8, so that ranges show in the outputs.

What it mimics: a calibrator is asked for batches until it gives none; an exception of its own is
swallowed; a cache is taken only if the header names this version and the algorithm; a failed build
gives None and a message; an engine of another version or GPU is not loaded; messages go to the
logger that came first, as long as somebody uses it; before 10 there are no constants of INT8.
"""

import json
import os

import numpy as np

from .emulation import MOVING, Network, calibrate, information, quantized, without_scale
from .names import (
    CAPABILITY,
    GPU,
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
from .runtime import EngineInspector, ICudaEngine, IExecutionContext, Runtime, read

__all__ = [
    "BuilderFlag", "ComputeCapability", "EngineInspector", "ICudaEngine", "IExecutionContext",
    "LayerInformationFormat", "MemoryPoolType", "Runtime", "TacticSource", "TensorIOMode",
]  # fmt: skip
_OWN = {__name__, f"{__name__}.names", f"{__name__}.runtime"}
float32, float16 = DataType.FLOAT, DataType.HALF
KINDS_OF = {np.dtype(np.int64): DataType.INT32, np.dtype(np.int32): DataType.INT32}


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


class ITensor(Strict):
    def __init__(self, name, shape, dtype):
        self.name, self.shape, self.dtype = name, shape, dtype
        self._amax = None

    def set_dynamic_range(self, min, max):
        assert min == -max
        self._amax = max
        return True


class ILayer(Strict):
    def __init__(self, name, type, outputs, inputs=(), values=None, op=None, node=""):
        self.name, self.type, self._outputs = name, type, outputs
        self._inputs, self._weights, self._op, self._node = list(inputs), values, op, node
        self._precision, self._types = None, {}

    @property
    def num_inputs(self):
        return len(self._inputs)

    def get_input(self, index):
        return self._inputs[index]

    @property
    def num_outputs(self):
        return len(self._outputs)

    def get_output(self, index):
        return self._outputs[index]

    @property
    def precision(self):
        return self._precision

    @precision.setter
    def precision(self, kind):
        self._check_floats()
        self._precision = kind

    def set_output_type(self, index, dtype):
        self._check_floats()
        self._types[index] = dtype

    def _check_floats(self):
        if any(tensor.dtype.name not in ("FLOAT", "HALF") for tensor in self._outputs):
            raise ValueError(f"Layer {self.name} computes integers and takes no precision")


class IConstantLayer(ILayer):
    """``get_layer`` gives a plain ``ILayer``; whoever knows its type changes its class."""

    @property
    def weights(self):
        return self._weights


class IElementWiseLayer(ILayer):
    @property
    def op(self):
        return getattr(ElementWiseOperation, self._op)


class INetworkDefinition(Strict):
    def __init__(self, flags):
        self._flags, self._onnx, self._inputs, self._layers = flags, None, [], []

    @property
    def num_inputs(self):
        return len(self._inputs)

    def get_input(self, index):
        return self._inputs[index]

    @property
    def num_layers(self):
        return len(self._layers)

    def get_layer(self, index):
        return self._layers[index]

    def _has(self, name):
        flag = getattr(NetworkDefinitionCreationFlag, name, None)
        return flag is not None and bool(self._flags >> int(flag) & 1)

    @property
    def _strong(self):
        return MAJOR >= 11 or self._has("STRONGLY_TYPED")


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text

    def node_name(self):
        return "node"


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._errors = network, []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        network = self._network
        if MAJOR < 10 and not network._has("EXPLICIT_BATCH"):
            self._errors.append(ParserError("ONNX needs an explicit batch"))
            return False
        read = Network(model)
        if read.refused:
            self._errors.append(ParserError(f"No importer registered for op: {read.refused}"))
            return False
        if MAJOR < 10 and (constants := read.int8_constants):
            self._errors.append(ParserError(f"{constants[0]}: invalid weights type of Int8"))
            return False
        bare = read.without_kernel_shape
        if bare and tuple(map(int, __version__.split(".")[:2])) < (10, 2) and MAJOR < 11:
            text = "Assertion failed: attrs.count(\"kernel_shape\")"
            self._errors.append(ParserError(f"In function convMultiInput: {bare[0]}: {text}"))
            return False
        network._onnx = read
        made = {
            name: ITensor(name, shape, getattr(DataType, kind, DataType.INT32))  # 8 has no INT64
            for name, (shape, kind) in read.tensors.items()
        }
        network._inputs[:] = [made[read.input]]
        network._layers[:] = []
        for one in read.layers():
            for name in (*one.inputs, *one.outputs):
                kind = KINDS_OF.get(getattr(one.values, "dtype", None), DataType.FLOAT)
                made.setdefault(name, ITensor(name, (), kind))
            ends = ([made[name] for name in names] for names in (one.outputs, one.inputs))
            kind = getattr(LayerType, one.kind)
            network._layers.append(ILayer(one.name, kind, *ends, one.values, one.op, one.node))
        return True


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
            return IHostMemory(_build(network, config, self._log).encode())
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
