"""What a GPU needs: its driver, CUDA, TensorRT."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import subprocess
from collections.abc import Callable

from bench.doctor.check import Check, Finding

_NO_GPU = "TensorRT needs a machine with an NVIDIA GPU; OpenVINO does not"
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (CUDA driver API, cuda.h)."""


def look_at_driver() -> Finding:
    """What nvidia-smi reports for every GPU."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        ended = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return Finding("absent", "no nvidia-smi", _NO_GPU)
    lines = [line.strip() for line in (ended.stdout or ended.stderr).splitlines() if line.strip()]
    if ended.returncode or not lines:
        reason = lines[0] if lines else f"exit status {ended.returncode}"
        return Finding("fail", f"nvidia-smi: {reason}", "Install the GPU's driver, then reboot")
    return Finding("pass", "; ".join(lines))


def look_at_cuda() -> Finding:
    """What the driver's library reports; the toolkit is not needed."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Finding("absent", "no libcuda.so.1", "It comes with the driver of an NVIDIA GPU")
    if code := cuda.cuInit(0):
        fix = "Install the GPU's driver; in a container, give it the GPU (--gpus all)"
        return Finding("fail", f"CUDA does not start (error {code})", fix)
    version = _number(cuda.cuDriverGetVersion)
    capabilities = [
        f"{_number(cuda.cuDeviceGetAttribute, _MAJOR, device)}."
        f"{_number(cuda.cuDeviceGetAttribute, _MINOR, device)}"
        for device in range(_number(cuda.cuDeviceGetCount))
    ]
    if not capabilities:
        return Finding("fail", "CUDA sees no GPU", "Check CUDA_VISIBLE_DEVICES")
    version_text = f"CUDA {version // 1000}.{version % 1000 // 10}, compute capability "
    return Finding("pass", version_text + ", ".join(capabilities))


def _number(ask: Callable[..., int], *arguments: int) -> int:
    """The number that a driver function writes to its first argument; OSError if it fails."""
    answer = ctypes.c_int()
    if code := ask(ctypes.byref(answer), *arguments):
        raise OSError(f"CUDA error {code}")
    return answer.value


def look_at_tensorrt() -> Finding:
    """TensorRT's version, and the kinds of quantization that it supports."""
    if importlib.util.find_spec("tensorrt") is None:
        fix = (
            "On a machine with a GPU: pip install -e '.[tensorrt85]' (Python 3.10, the version of "
            "the finding), '.[tensorrt10]' or '.[tensorrt11]'"
        )
        return Finding("absent", "not installed", fix)
    try:
        version = str(importlib.import_module("tensorrt").__version__)
    except ImportError as error:
        fix = "Its libraries are missing: pip install --force-reinstall tensorrt"
        return Finding("fail", f"it cannot be imported ({error})", fix)
    implicit = int(version.split(".")[0]) <= 10
    kinds = "explicit and implicit quantization" if implicit else "explicit quantization only"
    return Finding("pass", f"{version}: {kinds}")


CHECKS = (
    Check("NVIDIA driver", look_at_driver),
    Check("CUDA", look_at_cuda),
    Check("TensorRT", look_at_tensorrt),
)
