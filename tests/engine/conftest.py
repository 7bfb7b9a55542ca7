"""TensorRT's engine with a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.engine.trt.engine import TensorRt


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., TensorRt]:
    """``engine(**options)``"""
    return lambda **options: TensorRt(cache=str(tmp_path), **options)
