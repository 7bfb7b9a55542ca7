"""INT8 weights in FP32 behind a QuantizeLinear: the same network, as TensorRT 8 takes it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bench.engine.trt.float_weights import with_float_weights


@pytest.mark.parametrize("name", ["residual", "silu_concat"])
def test_every_output_stays_the_same(name, tiny, quantize, images, run_in_onnxruntime):
    quantized = quantize(tiny(name)).proto
    opened = with_float_weights(quantized)
    onnx.checker.check_model(opened)
    for before, after in zip(
        run_in_onnxruntime(quantized, images()), run_in_onnxruntime(opened, images()), strict=True
    ):
        np.testing.assert_array_equal(after, before)


def test_weights_are_in_float_behind_a_pair_of_their_own(tiny, quantize):
    quantized = quantize(tiny("residual")).proto
    opened = with_float_weights(quantized)
    stored = {t.name: numpy_helper.to_array(t) for t in opened.graph.initializer}
    assert not any(values.any() for values in stored.values() if values.dtype == np.int8)
    makers = {out: node for node in opened.graph.node for out in node.output}
    products = [node for node in opened.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(products) == 4
    for node in products:
        dequantize = makers[node.input[1]]
        quantize_ = makers[dequantize.input[0]]
        assert (quantize_.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear")
        assert list(quantize_.input[1:]) == list(dequantize.input[1:])
        weights, scales = stored[quantize_.input[0]], stored[quantize_.input[1]]
        assert weights.dtype == np.float32 and scales.shape == (len(weights),)
    assert any(t.data_type == onnx.TensorProto.INT8 for t in quantized.graph.initializer)
