"""A machine with a GPU, for the checks that need one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.doctor import trt
from bench.doctor.check import Finding


@pytest.fixture
def on_gpu(
    fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """``on_gpu(version)``: the stand-in of ``tests/fakes``, on a machine with a GPU."""
    monkeypatch.setattr(trt, "look_at_cuda", lambda: Finding("pass", "CUDA 12.4"))
    monkeypatch.setattr(trt, "CHANNELS", 16)
    monkeypatch.setattr(trt, "SIDE", 32)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    return fake_tensorrt
