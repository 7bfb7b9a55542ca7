"""CUDA's runtime: through cuda-python where that is installed, else straight from libcudart."""

from __future__ import annotations

import ctypes
import importlib
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np

from bench.deploy.runner.ground import NotHereError, one_line

_H2D, _D2H = 1, 2
_CAPTURE_THREAD_LOCAL = 1
_MAJOR, _MINOR = 75, 76
_NAMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
_PLACES = (
    "usr/local/cuda/lib64/libcudart.so*",
    "usr/local/cuda/targets/*/lib/libcudart.so*",
    "usr/lib/*-linux-gnu/libcudart.so*",
)


def load_cuda() -> Any:
    """Functions named as in cuda-python, which give (status, value ...); or NotHereError."""
    for module in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return importlib.import_module(module)
        except Exception:  # whatever a package that does not fit raises
            continue
    return LibCudart(_open_libcudart())


def _open_libcudart() -> Any:
    packaged = [
        str(path)
        for folder in sys.path
        for path in (Path(folder) / "nvidia" / "cuda_runtime" / "lib").glob("libcudart*")
    ]
    found = [str(path) for place in _PLACES for path in sorted(Path("/").glob(place))]
    reason = ""
    for name in [*_loaded(), *packaged, *_NAMES, *found]:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reason = reason or one_line(error)
    raise NotHereError(
        f"neither cuda-python nor libcudart.so is here ({reason}). Install CUDA's runtime (on a "
        "Jetson: sudo apt install cuda-cudart), or add its folder to LD_LIBRARY_PATH"
    )


def _loaded() -> list[str]:
    """The libcudart that this process has already, as TensorRT's packages bring it."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = [line.partition("/")[2] for line in lines if "/libcudart.so" in line]
    return ["/" + path for path in dict.fromkeys(paths)]


class LibCudart:
    """The few functions of libcudart that are needed, with cuda-python's names and results."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        """A function without results: cudaFree, cudaEventRecord ..."""
        function = getattr(self._library, name)

        def call(*arguments: Any) -> Any:
            return (function(*(_as_c(own) for own in arguments)),)

        return call

    def _value(self, name: str, kind: Any, *arguments: Any) -> Any:
        value = kind()
        function = getattr(self._library, name)
        status = function(ctypes.byref(value), *(_as_c(own) for own in arguments))
        return status, value.value

    def cudaGetDeviceCount(self) -> Any:
        return self._value("cudaGetDeviceCount", ctypes.c_int)

    def cudaDriverGetVersion(self) -> Any:
        return self._value("cudaDriverGetVersion", ctypes.c_int)

    def cudaRuntimeGetVersion(self) -> Any:
        return self._value("cudaRuntimeGetVersion", ctypes.c_int)

    def cudaDeviceGetAttribute(self, kind: int, device: int) -> Any:
        value = ctypes.c_int()
        status = self._library.cudaDeviceGetAttribute(ctypes.byref(value), int(kind), int(device))
        return status, value.value

    def cudaMalloc(self, size: int) -> Any:
        return self._value("cudaMalloc", ctypes.c_void_p, ctypes.c_size_t(size))

    def cudaMallocHost(self, size: int) -> Any:
        return self._value("cudaMallocHost", ctypes.c_void_p, ctypes.c_size_t(size))

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: Any) -> Any:
        function = self._library.cudaMemcpyAsync
        words = (_as_c(target), _as_c(source), ctypes.c_size_t(size), int(kind), _as_c(stream))
        return (function(*words),)

    def cudaStreamCreate(self) -> Any:
        return self._value("cudaStreamCreate", ctypes.c_void_p)

    def cudaStreamBeginCapture(self, stream: Any, mode: int) -> Any:
        return (self._library.cudaStreamBeginCapture(_as_c(stream), int(mode)),)

    def cudaStreamEndCapture(self, stream: Any) -> Any:
        graph = ctypes.c_void_p()
        status = self._library.cudaStreamEndCapture(_as_c(stream), ctypes.byref(graph))
        return status, graph.value

    def cudaGraphInstantiateWithFlags(self, graph: Any, flags: int) -> Any:
        name = "cudaGraphInstantiateWithFlags"
        return self._value(name, ctypes.c_void_p, graph, ctypes.c_ulonglong(flags))

    def cudaEventCreate(self) -> Any:
        return self._value("cudaEventCreate", ctypes.c_void_p)

    def cudaEventElapsedTime(self, start: Any, end: Any) -> Any:
        return self._value("cudaEventElapsedTime", ctypes.c_float, start, end)


def _as_c(value: Any) -> Any:
    """Handles and addresses are pointers: a plain int would be cut to 32 bits."""
    return ctypes.c_void_p(value) if isinstance(value, int) or value is None else value


class Cuda:
    """What the runner asks of CUDA; NotHereError where there is no GPU or no driver."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        try:
            status, count = runtime.cudaGetDeviceCount()
        except RuntimeError as error:  # cuda-python without libcuda
            raise NotHereError(f"there is no NVIDIA driver ({one_line(error)})") from error
        if int(status) != 0 or not count:
            raise NotHereError(f"CUDA finds no GPU or driver (status {int(status)})")

    def call(self, name: str, *arguments: Any) -> Any:
        """What a function gives besides its status; RuntimeError for any but success."""
        status, *values = getattr(self.runtime, name)(*arguments)
        if int(status) != 0:
            raise RuntimeError("{} failed ({})".format(name, getattr(status, "name", int(status))))
        return values[0] if values else None

    def _kind(self, enumeration: str, member: str, number: int) -> Any:
        """An enumeration's member as cuda-python wants it, or its number for libcudart."""
        kinds = getattr(self.runtime, enumeration, None)
        if kinds is None or isinstance(self.runtime, LibCudart):
            return number
        return getattr(kinds, member)

    def copy(self, target: int, source: int, size: int, to_device: bool, stream: Any) -> None:
        if to_device:
            kind = self._kind("cudaMemcpyKind", "cudaMemcpyHostToDevice", _H2D)
        else:
            kind = self._kind("cudaMemcpyKind", "cudaMemcpyDeviceToHost", _D2H)
        self.call("cudaMemcpyAsync", target, source, size, kind, stream)

    def record(self, stream: Any, enqueue: Callable[[], None]) -> Any:
        """What ``enqueue`` gives to the stream, as one graph to be launched."""
        mode = self._kind(
            "cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal", _CAPTURE_THREAD_LOCAL
        )
        self.call("cudaStreamBeginCapture", stream, mode)
        enqueue()
        graph = self.call("cudaStreamEndCapture", stream)
        return self.call("cudaGraphInstantiateWithFlags", graph, 0)

    def describe(self) -> dict[str, Any]:
        """The GPU by its name and compute capability, and CUDA's versions; None where unknown."""
        major, minor = (
            self._told("cudaDeviceGetAttribute", self._kind("cudaDeviceAttr", member, number), 0)
            for member, number in (
                ("cudaDevAttrComputeCapabilityMajor", _MAJOR),
                ("cudaDevAttrComputeCapabilityMinor", _MINOR),
            )
        )
        return {
            "gpu": board_name() or _name_by_nvml() or self._name() or "unknown GPU",
            "capability": None if major is None else f"{major}.{minor}",
            "driver_cuda": self._told("cudaDriverGetVersion"),
            "runtime_cuda": self._told("cudaRuntimeGetVersion"),
        }

    def _told(self, name: str, *arguments: Any) -> int | None:
        try:
            return int(self.call(name, *arguments))
        except (AttributeError, RuntimeError):
            return None

    def _name(self) -> str:
        """The first member of cudaDeviceProp, in every version: a text of 256 bytes."""
        if not isinstance(self.runtime, LibCudart):
            return ""
        properties = ctypes.create_string_buffer(1 << 16)
        for name in ("cudaGetDeviceProperties_v2", "cudaGetDeviceProperties"):
            try:
                function = getattr(self.runtime._library, name)
            except AttributeError:
                continue
            if function(properties, 0) == 0:
                return properties.value[:256].decode("utf-8", "replace")
        return ""


def board_name() -> str:
    """What a Jetson calls itself; empty elsewhere."""
    try:
        return Path("/proc/device-tree/model").read_text().strip("\0 \n")
    except (OSError, ValueError):
        return ""


def _name_by_nvml() -> str:
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        name = nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(0))
        nvml.nvmlShutdown()
    except Exception:  # not installed, or no such library on a Jetson
        return ""
    return name.decode() if isinstance(name, bytes) else str(name)


class Buffer:
    """One tensor in page-locked host memory, ``host``, and on the device, at ``pointer``."""

    def __init__(self, cuda: Cuda, shape: list[int], dtype: Any) -> None:
        self._cuda = cuda
        self.size = max(1, int(np.prod(shape))) * np.dtype(dtype).itemsize
        self._pinned = int(cuda.call("cudaMallocHost", self.size))
        memory = (ctypes.c_byte * self.size).from_address(self._pinned)
        self.host = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        self.pointer = int(cuda.call("cudaMalloc", self.size))

    def push(self, stream: Any) -> None:
        self._cuda.copy(self.pointer, self._pinned, self.size, True, stream)

    def pull(self, stream: Any) -> None:
        self._cuda.copy(self._pinned, self.pointer, self.size, False, stream)
