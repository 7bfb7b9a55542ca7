"""TensorRT's engine with a folder of its own; files that every processor computes alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bench.engine.trt.engine import TensorRt


@pytest.fixture(scope="session")
def seven_bits() -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    """A Q/DQ file with weights of seven bits: their products saturate on no processor."""

    def halve(proto: onnx.ModelProto) -> onnx.ModelProto:
        halved = onnx.ModelProto()
        halved.CopyFrom(proto)
        for tensor in halved.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if tensor.name.endswith("/weight/quantized"):
                values = np.trunc(values / 2).astype(np.int8)
            elif tensor.name.endswith("/weight/scale"):
                values = values * 2
            else:
                continue
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return halved

    return halve


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., TensorRt]:
    """``engine(**options)``"""
    return lambda **options: TensorRt(cache=str(tmp_path), **options)
