"""The stand-in's engines: loaded, asked and run."""

import ctypes
import json

import numpy as np

from .emulation import Network
from .names import (
    CAPABILITY,
    GPU,
    MAGIC,
    DataType,
    ILogger,
    LayerInformationFormat,
    Strict,
    TensorIOMode,
    __version__,
    registered,
)


def read(pointer, shape):
    """A float32 array of device memory."""
    size = int(np.prod(shape)) * 4
    return np.frombuffer(ctypes.string_at(pointer, size), np.float32).reshape(shape)


class Runtime:
    def __init__(self, logger):
        self._log = registered(self, logger)

    def deserialize_cuda_engine(self, serialized_engine):
        try:
            content = bytes(serialized_engine)
            assert content.startswith(MAGIC)
            plan = json.loads(content.removeprefix(MAGIC))
            assert (plan["version"], plan["gpu"]) == (__version__, GPU)
            assert plan["capability"] == CAPABILITY
        except (ValueError, AssertionError):
            self._log.log(ILogger.ERROR, "6: The engine plan file is not compatible")
            return None
        return ICudaEngine(plan)


class ICudaEngine(Strict):
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

    def get_tensor_shape(self, name):
        if name == self._plan["input"]:
            return tuple(self._plan["shape"])
        return self._network.tensors[name][0]

    def get_tensor_profile_shape(self, name, profile_index):
        assert profile_index == 0
        return self._plan["profile"] or [self._plan["shape"]] * 3

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


class IExecutionContext(Strict):
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
        images = read(self._addresses[name], self._shapes[name])
        for output, values in self._engine._network.run(images).items():
            content = np.ascontiguousarray(values).tobytes()
            ctypes.memmove(self._addresses[output], content, len(content))
        profiler = getattr(self, "profiler", None)
        for number, layer in enumerate(json.loads(self._engine._plan["information"])["Layers"]):
            if profiler is not None:
                profiler.report_layer_time(layer["Name"], 0.5 + number)


class IProfiler:
    """Must be initialised by whoever derives from it."""
