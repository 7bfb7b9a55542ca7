"""Tensors of TensorRT's network that the ONNX file does not name: each gets a range, as from
TensorRT's own calibrators, so that no layer falls out of INT8; on the stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from bench.engine.trt.build_log import open_log
from bench.engine.trt.network import make_builder, parse_network, tensors_of
from bench.engine.trt.unnamed_ranges import with_unnamed
from bench.model.edit import with_batch
from tests.engine.trt_models import IMPLICIT, batches, calibrate, int8_model


@pytest.fixture
def network(fake_tensorrt: Any, load: Any, sketch: Any) -> Any:
    """A sum with a constant, a reshape of what it gives, and a Gemm: parsed, with its ONNX file."""
    trt = fake_tensorrt()
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    x = g.op("Add", x, g.const(np.full((1, 4, 1, 1), -3.0, np.float32), "shift"), name="add")
    x = g.op("Add", x, g.const(np.zeros((1, 4, 1, 1), np.float32), "none"), name="plus_0")
    x = g.op("Transpose", x, name="turn", perm=[0, 1, 3, 2])
    model = load(g.model(g.classify(g.op("Relu", x, name="relu2"), 4)))
    log = open_log(trt)
    builder = make_builder(trt, log)
    fixed = with_batch(model.proto, "images", 1)
    return trt, model, builder, parse_network(trt, log, builder, fixed, strong=False)


def test_every_tensor_gets_what_follows_from_the_named_ones(network: Any, quantize: Any) -> None:
    trt, model, _builder, parsed = network
    amax = dict(quantize(model, placement="implicit").amax)
    turned = amax.pop("turn_out")
    found = with_unnamed(trt, parsed, amax)
    assert found.keys() >= {tensor.name for tensor in tensors_of(parsed)}
    assert found.items() >= amax.items()
    assert found["turn_out"] == amax["plus_0_out"] == pytest.approx(turned)
    by_words = {name.partition("[")[2]: own for name, own in found.items() if "[" in name}
    bias = np.abs(_stored(model, "fc.b")).max()
    assert by_words["Shuffle]_output"] == pytest.approx(bias)
    assert by_words["Matrix Multiply]_output"] == pytest.approx(amax["fc_out"] + bias)
    constants = [found[n] for n in found if "[Constant]" in n]
    expected = [3.0, 1.0, np.abs(_stored(model, "fc.w")).max(), bias]  # 1: nothing but zeros
    assert constants == pytest.approx(expected)


def test_what_nothing_tells_stays_without_a_range(network: Any) -> None:
    trt, _model, _builder, parsed = network
    found = with_unnamed(trt, parsed, {"images": 1.0})
    named = {name for name in found if "[" not in name}
    assert named == {"images"}
    assert not [name for name in found if "[Matrix Multiply]" in name]


@pytest.mark.parametrize("version", IMPLICIT)
@pytest.mark.parametrize("ranges", ["cache", "dynamic"])
def test_ours_and_native_ranges_leave_the_same_layers_in_int8(
    version: str, ranges: str, fake_tensorrt: Any, engine: Any, tiny: Any, quantize: Any
) -> None:
    fake_tensorrt(version)
    chosen = engine(mode="implicit", ranges=ranges)
    native = calibrate(chosen, tiny("residual"), batches(2))
    quantized = quantize(tiny("residual"), placement="implicit")
    ran = []
    for amax in (quantized.amax, native.cache.ranges()):
        with chosen.build_int8(int8_model(quantized, amax=amax)) as session:
            session.run(np.zeros((1, 3, 16, 16), np.float32))
            described = session.describe()
        assert described.facts is not None
        assert described.facts.missing_scales == 0
        ran.append(described.int8_nodes)
    assert ran[0] == ran[1] == {"stem", "block1", "block2", "fc"}


def test_a_tensor_without_a_scale_is_counted_and_its_layers_fall_back(
    fake_tensorrt: Any, engine: Any, tiny: Any, quantize: Any
) -> None:
    fake_tensorrt()
    quantized = quantize(tiny("residual"), placement="implicit")
    amax = dict(quantized.amax)
    del amax["block1_out"]
    for _ in range(2):  # built, and read from disk
        with engine(mode="implicit").build_int8(int8_model(quantized, amax=amax)) as session:
            session.run(np.zeros((1, 3, 16, 16), np.float32))
            described = session.describe()
        assert described.int8_nodes == {"stem", "block2", "fc"}
        assert described.facts is not None
        assert described.facts.missing_scales == 1


def _stored(model: Any, name: str) -> Any:
    (tensor,) = [own for own in model.proto.graph.initializer if own.name == name]
    return numpy_helper.to_array(tensor)
