"""The sources of TensorRT's kernels on a machine without cuBLAS or cuDNN.

TensorRT 8.5 takes some kernels from both, and cannot build where they cannot be loaded. It has
other kernels for the same work; from 8.6 on it uses neither library by default.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from bench.engine.trt.version import number

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

_LIBRARIES = ("libcudnn.so.8", "libcublas.so.11", "libcublasLt.so.11")
"""By the names that the wheels of 8.5 link (seen: 8.5.1.7, which loads them when imported)."""

_WITHOUT = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")


def usual_sources(trt: TensorRT, asked: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The sources ``asked`` for, or those that work on this machine; None: the version's default.

    ``trt`` has been imported, and with it the libraries in packages.
    """
    if asked is not None or number(trt) != (8, 5) or all(map(can_load, _LIBRARIES)):
        return asked
    return _WITHOUT


def can_load(library: str) -> bool:
    """Whether the dynamic linker has a library, or knows where it is."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
