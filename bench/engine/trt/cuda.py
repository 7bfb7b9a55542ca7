"""CUDA through cuda-python: the GPU, memory on both sides of it, and errors as one line."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, EngineError

_MEND = (
    "Run it on a machine with an NVIDIA GPU and driver; engine=tensorrt_rtx builds without either"
)


def load_cudart() -> Any:
    """cuda-python's runtime API; ConfigError where the package is absent."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise ConfigError(
            f"engine tensorrt needs cuda-python, which cannot be imported ({error})",
            "Install it: pip install -e '.[tensorrt85]', '.[tensorrt10]' or '.[tensorrt11]'",
        ) from error


def call(result: tuple[Any, ...]) -> Any:
    """The result of a CUDA function besides its status: one value, or None.

    Raises EngineError for every status but success.
    """
    status, *values = result
    if int(status) != 0:
        name = getattr(status, "name", str(status))
        raise EngineError(
            f"CUDA fails ({name})", "Check nvidia-smi; other programs may use the GPU"
        )
    return values[0] if values else None


@dataclass(frozen=True)
class Gpu:
    """The GPU that runs the engine, and the driver: another of either needs another engine.

    ``capability`` is its compute capability as TensorRT writes it: SM89 for 8.9.
    """

    name: str
    driver: str
    bus: str
    capability: str

    def __str__(self) -> str:
        return f"{self.name}, driver {self.driver}"

    def clock_mhz(self) -> int | None:
        """The present clock of its multiprocessors; None where it is not reported (virtual GPU)."""
        return self._told(lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM))

    def temperature_c(self) -> int | None:
        """Its present temperature in degrees Celsius; None where it is not reported."""
        return self._told(
            lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)
        )

    def _told(self, ask: Callable[[Any, Any], int]) -> int | None:
        with _Nvml() as nvml, suppress(nvml.NVMLError):
            return int(ask(nvml, nvml.nvmlDeviceGetHandleByPciBusId(self.bus)))
        return None


@lru_cache
def find_gpu() -> Gpu:
    """The first GPU that CUDA sees; ConfigError, in one line, where there is none."""
    cudart = load_cudart()
    try:
        status, count = cudart.cudaGetDeviceCount()
    except RuntimeError as error:  # cuda-python 11 and 12, without libcuda
        raise ConfigError(f"engine tensorrt: there is no NVIDIA driver ({error})", _MEND) from error
    if int(status) != 0 or not count:
        name = getattr(status, "name", str(status))
        raise ConfigError(f"engine tensorrt: there is no NVIDIA GPU or driver ({name})", _MEND)
    bus = _text(call(cudart.cudaDeviceGetPCIBusId(64, 0)))
    with _Nvml() as nvml:
        name = _text(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByPciBusId(bus)))
        driver = _text(nvml.nvmlSystemGetDriverVersion())
    kinds = cudart.cudaDeviceAttr
    major, minor = (
        call(cudart.cudaDeviceGetAttribute(kind, 0))
        for kind in (
            kinds.cudaDevAttrComputeCapabilityMajor,
            kinds.cudaDevAttrComputeCapabilityMinor,
        )
    )
    return Gpu(name, driver, bus, f"SM{major}{minor}")


class _Nvml:
    """NVIDIA's management library, read only, open in a ``with`` block."""

    def __enter__(self) -> Any:
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError as error:
            raise ConfigError(
                f"engine tensorrt needs nvidia-ml-py, which cannot be imported ({error})",
                "Install it: pip install nvidia-ml-py",
            ) from error
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise _silent(error) from error
        return self._nvml

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._nvml.nvmlShutdown()
        if isinstance(error, self._nvml.NVMLError):
            raise _silent(error) from error


def _silent(error: BaseException) -> ConfigError:
    return ConfigError(
        f"engine tensorrt cannot ask the NVIDIA driver about the GPU ({error})",
        "Check nvidia-smi; a container needs the driver's utility capability",
    )


def _text(value: Any) -> str:
    """The text up to C's terminating null; some versions of the bindings return bytes."""
    return (value.decode() if isinstance(value, bytes) else str(value)).partition("\0")[0]


def synchronize() -> None:
    """Wait until the device has finished all its work."""
    call(load_cudart().cudaDeviceSynchronize())


class Buffer:
    """One tensor in page-locked host memory, ``host``, and on the device, at ``pointer``.

    Both are freed by ``close``, or with the object.
    """

    def __init__(self, shape: Sequence[int], dtype: npt.DTypeLike) -> None:
        self._cudart = load_cudart()
        self.nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._pinned = int(call(self._cudart.cudaMallocHost(self.nbytes)))
        self._give_back = [finalize(self, self._cudart.cudaFreeHost, self._pinned)]
        memory = (ctypes.c_byte * self.nbytes).from_address(self._pinned)
        self.host: npt.NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        self.pointer = int(call(self._cudart.cudaMalloc(self.nbytes)))
        self._give_back.append(finalize(self, self._cudart.cudaFree, self.pointer))

    def push(self, stream: Any) -> None:
        """From host to device, in the stream's order."""
        self._copy(self.pointer, self._pinned, "cudaMemcpyHostToDevice", stream)

    def pull(self, stream: Any) -> None:
        """From device to host, in the stream's order."""
        self._copy(self._pinned, self.pointer, "cudaMemcpyDeviceToHost", stream)

    def _copy(self, target: int, source: int, kind: str, stream: Any) -> None:
        way = getattr(self._cudart.cudaMemcpyKind, kind)
        call(self._cudart.cudaMemcpyAsync(target, source, self.nbytes, way, stream))

    def close(self) -> None:
        """Free both memories; ``host`` must not be used afterwards."""
        for give_back in self._give_back:
            if (ended := give_back()) is not None:
                call(ended)
