"""A model in FP16 computes what it computed, between inputs and outputs of float32."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto

from bench.engine.ov import OpenVino
from bench.errors import EngineError
from bench.model.edit import with_batch
from bench.model.half import FLOAT16_QDQ, to_half


def test_it_computes_the_same_in_float16(tiny_name, tiny, images, run_in_onnxruntime, sqnr):
    model = with_batch(tiny(tiny_name).proto, "images", 1)
    before = model.SerializeToString(deterministic=True)
    half = to_half(model)
    x = images()
    decibels = sqnr(run_in_onnxruntime(model, x), run_in_onnxruntime(half, x))
    assert 40 < decibels < 100  # near, but rounded
    kinds = {tensor.data_type for tensor in half.graph.initializer if tensor.name.endswith(".w")}
    assert kinds == {TensorProto.FLOAT16}
    for value in (*half.graph.input, *half.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    assert model.SerializeToString(deterministic=True) == before


def test_qdq_gets_scales_of_float16_in_an_opset_that_has_them(tiny, quantize, images, sqnr):
    """OpenVINO is the reference: ONNX Runtime's QuantizeLinear cuts float16 off."""
    qdq = with_batch(quantize(tiny("residual")).proto, "images", 1)
    half, x = to_half(qdq), images()
    onnx.checker.check_model(half, full_check=True)
    assert half.opset_import[0].version >= FLOAT16_QDQ > qdq.opset_import[0].version
    assert [n.op_type for n in half.graph.node if n.op_type != "Cast"] == [
        n.op_type for n in qdq.graph.node
    ]
    with OpenVino().build(qdq) as expected, OpenVino().build(half) as found:
        assert found.describe().int8_nodes == expected.describe().int8_nodes != frozenset()
        assert sqnr(expected.run(x), found.run(x)) > 25


def test_a_model_that_cannot_be_converted_is_refused_in_one_line(tiny, monkeypatch):
    def stumble(model: object, **options: object) -> object:
        raise AttributeError("no\nsuch attribute")

    monkeypatch.setattr("onnxruntime.transformers.float16.convert_float_to_float16", stumble)
    with pytest.raises(EngineError, match="AttributeError: no such attribute"):
        to_half(tiny("residual").proto)
