"""What a row says of its engine's options: those that are not as they come."""

from __future__ import annotations

import pytest

from bench.engine.base import unusual_options
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.engine.trt.engine import TensorRt
from bench.engine.trt.rtx import RtxEngine, TensorRtRtx


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (OpenVino(), ""),
        (OpenVino(threads=2), ""),  # a column of its own
        (OnnxRuntime(), ""),
        (TensorRt(cache="elsewhere"), ""),
        (TensorRt(half=False, streams=4, profile=(1, 2, 4)),
         "half=False, profile=(1, 2, 4), streams=4"),
        (TensorRtRtx("SM120"), ""),
        (RtxEngine(TensorRtRtx("SM120")), ""),
    ],
)  # fmt: skip
def test_only_what_is_not_as_it_comes_is_told(engine, told):
    assert unusual_options(engine) == told
