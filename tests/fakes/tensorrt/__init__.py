"""A stand-in for TensorRT that behaves as its documentation says, on a machine without a GPU.

Only the tests put this folder on the path. ``FAKE_TENSORRT`` is the version it claims to be, and of
what is written here nothing is left that the list of that version's names
(``tests/engine/tensorrt_api``) has not. It runs networks in ONNX Runtime, with Q/DQ put in front of
the layers that would be INT8, so that ranges show in the outputs.

What it mimics: a calibrator is asked for batches until it gives none; an exception of its own is
swallowed; a cache is taken only if the header names this version and the algorithm; a failed build
gives None and a message; an engine of another version or GPU is not loaded; messages go to the
logger that came first, as long as somebody uses it.
"""

import ctypes
import enum
import json
import os
import re
import weakref
from pathlib import Path

import numpy as np

from .emulation import Network, calibrate, information, quantized

__version__ = os.environ.get("FAKE_TENSORRT", "8.5.1.7")
_LIST = Path(__file__).parents[2] / "engine" / "tensorrt_api" / f"{__version__}.txt"
_NAMES = {line.partition("(")[0] for line in _LIST.read_text().splitlines()}
_MAJOR = int(__version__.split(".")[0])
_GPU = os.environ.get("FAKE_GPU", "NVIDIA Test GPU")


def _enumeration(name):
    members = [n.split(".")[1] for n in sorted(_NAMES) if re.fullmatch(rf"{name}\.[A-Z0-9_]+", n)]
    return enum.IntEnum(name, {member: number for number, member in enumerate(members)})


BuilderFlag = _enumeration("BuilderFlag")
DataType = _enumeration("DataType")
LayerInformationFormat = _enumeration("LayerInformationFormat")
LayerType = _enumeration("LayerType")
MemoryPoolType = _enumeration("MemoryPoolType")
ProfilingVerbosity = _enumeration("ProfilingVerbosity")
NetworkDefinitionCreationFlag = _enumeration("NetworkDefinitionCreationFlag")
TacticSource = _enumeration("TacticSource")
TensorIOMode = _enumeration("TensorIOMode")
float32, float16 = DataType.FLOAT, DataType.HALF


class _Strict:
    """Takes no attribute that this version of the class has not, as the real bindings."""

    def __setattr__(self, name, value):
        if not name.startswith("_") and f"{type(self).__name__}.{name}" not in _NAMES:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, value)


_users = weakref.WeakSet()  # builders and runtimes that live
_logger = None  # the first one's, and every other's


def _registered(user, logger):
    """The one logger that TensorRT keeps while anybody lives who uses it."""
    global _logger
    _logger = _logger if _users else weakref.ref(logger)
    _users.add(user)
    alive = _logger()
    assert alive is not None, "the logger is gone: TensorRT would crash"
    return alive


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING

    def __init__(self):
        pass


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


class ITensor(_Strict):
    def __init__(self, name, shape, dtype):
        self.name, self.shape, self.dtype = name, shape, dtype
        self._amax = None

    def set_dynamic_range(self, min, max):
        assert min == -max
        self._amax = max
        return True


class ILayer(_Strict):
    def __init__(self, name, type, outputs):
        self.name, self.type, self._outputs = name, type, outputs
        self._precision, self._types = None, {}

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


class INetworkDefinition(_Strict):
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
        return _MAJOR >= 11 or self._has("STRONGLY_TYPED")


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text


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
        if _MAJOR < 10 and not network._has("EXPLICIT_BATCH"):
            self._errors.append(ParserError("ONNX needs an explicit batch"))
            return False
        read = Network(model)
        if read.refused:
            self._errors.append(ParserError(f"No importer registered for op: {read.refused}"))
            return False
        network._onnx = read
        made = {
            name: ITensor(name, shape, getattr(DataType, kind, DataType.INT32))  # 8 has no INT64
            for name, (shape, kind) in read.tensors.items()
        }
        network._inputs[:] = [made[read.input]]
        network._layers[:] = [
            ILayer(name, getattr(LayerType, kind), [made[o] for o in outputs])
            for name, kind, outputs in read.layers()
        ]
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


class IBuilderConfig(_Strict):
    def __init__(self):
        self._flags = {"TF32"}
        self._calibrator = self._profile = self._timings = self._sources = None
        self._limits = {}
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    @property
    def int8_calibrator(self):
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, calibrator):
        if not calibrator._ready:
            raise TypeError("__init__() of the calibrator's base class was not called")
        self._calibrator = calibrator

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

    def add_optimization_profile(self, profile):
        self._profile = profile
        return 0


class Builder:
    def __init__(self, logger):
        self._log = _registered(self, logger)
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
        floats = {
            layer.name for layer in network._layers if obeyed and layer._precision is not None
        }
        model, int8 = quantized(read, ranges, floats)
    detailed = config.profiling_verbosity == ProfilingVerbosity.DETAILED
    profile = config._profile._shapes[read.input] if config._profile else None
    return json.dumps(
        {
            "version": __version__,
            "gpu": _GPU,
            "model": model.hex(),
            "input": read.input,
            "shape": list(network.get_input(0).shape),
            "profile": profile,
            "information": information(read, int8, _MAJOR) if detailed else "{}",
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
        found = calibrate(network._onnx, calibrator, header, _read, log)
    if not found:
        raise ValueError("Calibration failure occurred with no scaling factors detected")
    return found


def _read(pointer, shape):
    """A float32 array of device memory."""
    size = int(np.prod(shape)) * 4
    return np.frombuffer(ctypes.string_at(pointer, size), np.float32).reshape(shape)


class Runtime:
    def __init__(self, logger):
        self._log = _registered(self, logger)

    def deserialize_cuda_engine(self, serialized_engine):
        try:
            plan = json.loads(bytes(serialized_engine))
            assert (plan["version"], plan["gpu"]) == (__version__, _GPU)
        except (ValueError, AssertionError):
            self._log.log(ILogger.ERROR, "6: The engine plan file is not compatible")
            return None
        return ICudaEngine(plan)


class ICudaEngine(_Strict):
    def __init__(self, plan):
        self._plan = plan
        self._network = Network(bytes.fromhex(plan["model"]))
        self._names = [plan["input"], *reversed(self._network.outputs)]  # not the file's order

    device_memory_size = device_memory_size_v2 = property(lambda self: 3_000_000)

    @property
    def num_io_tensors(self):
        return len(self._names)

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name == self._plan["input"] else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return DataType.FLOAT

    def create_execution_context(self):
        return IExecutionContext(self)

    def create_engine_inspector(self):
        return EngineInspector(self)


class EngineInspector:
    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):
        assert format == LayerInformationFormat.JSON
        return self._engine._plan["information"]


class IExecutionContext(_Strict):
    def __init__(self, engine):
        self._engine, self._shapes, self._addresses = engine, {}, {}

    def set_input_shape(self, name, shape):
        plan = self._engine._plan
        least, most = plan["profile"][::2] if plan["profile"] else (plan["shape"], plan["shape"])
        inside = all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))
        if inside:
            outputs = self._engine._network.run(np.zeros(shape, np.float32))
            self._shapes = {n: o.shape for n, o in outputs.items()} | {name: tuple(shape)}
        return inside

    def get_tensor_shape(self, name):
        return self._shapes[name]

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        from cuda.bindings import runtime

        assert isinstance(stream_handle, int)
        if runtime.recording is not None:
            runtime.recording.append(self._execute)
        else:
            self._execute()
        return True

    def _execute(self):
        name = self._engine._plan["input"]
        images = _read(self._addresses[name], self._shapes[name])
        for output, values in self._engine._network.run(images).items():
            content = np.ascontiguousarray(values).tobytes()
            ctypes.memmove(self._addresses[output], content, len(content))


def _drop_what_this_version_has_not():
    for name, value in list(globals().items()):
        if name.startswith("_") or not isinstance(value, type):
            continue
        if name not in _NAMES:
            if value.__module__ == __name__:
                del globals()[name]
            continue
        for member in list(vars(value)):
            if not member.startswith("_") and f"{name}.{member}" not in _NAMES:
                delattr(value, member)


_drop_what_this_version_has_not()
