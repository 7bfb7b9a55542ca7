"""TensorRT for RTX: the real builder takes what the harness makes."""

from __future__ import annotations

import builtins
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bench.engine.trt.rtx import CAPABILITIES, TensorRtRtx
from bench.errors import ConfigError, EngineError
from bench.model.edit import with_batch
from bench.model.graph import Graph
from bench.quantization.plan import PrecisionPlan, place
from bench.quantization.qdq import insert_qdq
from bench.run.aot import build_ahead
from bench.run.shared import Shared


@pytest.fixture
def builder() -> type[TensorRtRtx]:
    pytest.importorskip("tensorrt_rtx_bindings", reason="pip install -e '.[rtx]'")
    return TensorRtRtx


@pytest.mark.parametrize("placement", ["explicit", "implicit"])
def test_every_kind_of_graph_is_built_in_int8(tiny_name, tiny, quantize, placement, builder):
    q = quantize(tiny(tiny_name), placement=placement)
    built = builder().compile(with_batch(q.proto, "images", 1))
    assert len(built.content) > 1000


def test_the_capability_is_part_of_the_engine(tiny, builder):
    proto = with_batch(tiny("classifier").proto, "images", 1)
    built = {name: builder(name).compile(proto).content for name in ("SM86", "SM120")}
    assert built["SM86"] != built["SM120"]
    assert builder("SM86").options != builder("SM120").options


def test_what_the_builder_refuses_is_told_however_often(build, builder):
    """Its batch is open. The second time TensorRT tells the same logger."""
    for _ in range(2):
        with pytest.raises(EngineError, match=r"cannot build the model .*profile") as error:
            builder().compile(build("classifier"))
        assert "\n" not in str(error.value)


def test_what_the_parser_refuses_is_told(tiny, builder):
    """Bias as int32 Q/DQ, as ONNX Runtime would write it."""
    proto = onnx.ModelProto()
    proto.CopyFrom(tiny("classifier").proto)
    node = next(n for n in proto.graph.node if n.op_type == "Conv")
    proto.graph.initializer.extend(
        [
            numpy_helper.from_array(np.zeros(8, np.int32), "b_int"),
            numpy_helper.from_array(np.full(8, 0.1, np.float32), "b_scale"),
        ]
    )
    dequantize = helper.make_node("DequantizeLinear", ["b_int", "b_scale"], ["b"], axis=0)
    node.input[2] = "b"
    proto.graph.node.insert(0, dequantize)
    with pytest.raises(EngineError, match="TensorRT for RTX cannot parse the model") as error:
        builder().compile(proto)
    assert "\n" not in str(error.value)


def test_what_the_parser_refuses_is_told_with_the_node_and_the_reason(tiny, builder):
    model = tiny("classifier")
    graph = Graph(model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    asymmetric = insert_qdq(model, graph, points, dict.fromkeys(points.tensors, (-1.0, 3.0)))
    with pytest.raises(EngineError, match=r"QuantizeLinear: .*zero point is not supported"):
        builder().compile(asymmetric)


def test_a_model_that_cannot_be_made_fp16_costs_no_engine(tiny, quantize, builder, monkeypatch):
    def stumble(model: object, **options: object) -> object:
        raise AttributeError("no such attribute")

    monkeypatch.setattr("onnxruntime.transformers.float16.convert_float_to_float16", stumble)
    q = quantize(tiny("residual"))
    run: Any = SimpleNamespace(
        model=SimpleNamespace(network=q.model),
        measurement=SimpleNamespace(batch_size=1),
        shared=Shared(),
    )
    built = build_ahead(run, builder(), with_batch(q.proto, "images", 1))
    assert built.int8 is not None and built.int8.size > 1000
    assert list(built.floats) == ["fp32"] and built.floats["fp32"].size > 1000


@pytest.mark.parametrize("capability", ["SM90", "sm89", "89", ""])
def test_other_capabilities_are_refused_before_the_build(capability):
    with pytest.raises(ConfigError, match="Use one of SM75, SM80"):
        TensorRtRtx(capability)
    assert "SM90" not in CAPABILITIES


def test_without_the_package_one_line_tells_how_to_get_it(monkeypatch, tiny):
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("tensorrt_rtx"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *rest)

    def import_module(name: str) -> Any:
        return absent(name)

    monkeypatch.setattr("bench.engine.trt.rtx.importlib.import_module", import_module)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[rtx\]'"):
        TensorRtRtx().compile(tiny("classifier").proto)
