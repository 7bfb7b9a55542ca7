"""What talks to TensorRT imports what that needs, so that a process of its own starts quickly."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.engine.test_trt_api import OURS

HEAVY = ("numba", "llvmlite", "onnxruntime", "scipy", "pandas", "tensorrt", "cuda", "pynvml")


@pytest.mark.parametrize("package", ["bench.engine.trt", "bench.calibration.trt_cache"])
def test_nothing_heavy_is_imported(package: str) -> None:
    modules = [package]
    if package == "bench.engine.trt":
        modules += [f"{package}.{name.removesuffix('.py')}" for name in OURS if name[0] != "_"]
    code = f"import sys, {', '.join(modules)}\nprint(*({set(HEAVY)} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
