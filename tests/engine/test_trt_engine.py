"""TensorRT's engine on the stand-in of ``tests/fakes``: what is built, from what, and what is told.

That stand-in behaves as the documentation says, no more: what real TensorRT does is for
``make test-tensorrt`` and a machine with a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from bench.errors import EngineError
from bench.model.edit import with_batch
from tests.engine.trt_models import ALL, IMPLICIT, int8_model, one_line


def test_fp32_is_that_of_the_file(
    fake_tensorrt, engine, tiny_name, tiny, images, run_in_onnxruntime
):
    fake_tensorrt("11.4.0.106" if tiny_name == "residual" else "8.5.1.7")
    model = with_batch(tiny(tiny_name).proto, "images", 2)
    x = images(2)
    with engine().build(model) as session:
        found = session.run(x)
        described = session.describe()
    for expected, output in zip(run_in_onnxruntime(model, x), found, strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    assert described.int8_nodes == frozenset()
    assert described.layers >= 1


@pytest.mark.parametrize("version", ALL)
def test_fp16_is_asked_for_as_the_version_wants_it(
    version, fake_tensorrt, engine, tiny, images, run_in_onnxruntime, sqnr, monkeypatch
):
    """By a flag up to 10, by the file's own types in 11; FP32 beside it stays FP32."""
    trt = fake_tensorrt(version)
    flags, real = [], trt.Builder.build_serialized_network

    def build(self: Any, network: Any, config: Any) -> Any:
        half = onnx.load_from_string(network._onnx.content).graph.initializer[0].data_type
        flags.append(("FP16" in config._flags, half == onnx.TensorProto.FLOAT16))
        return real(self, network, config)

    monkeypatch.setattr(trt.Builder, "build_serialized_network", build)
    model, x = with_batch(tiny("residual").proto, "images", 1), images()
    for make in (engine().build_fp16, engine().build):
        with make(model) as session:
            found, described = session.run(x), session.describe()
        assert sqnr(run_in_onnxruntime(model, x), found) > 40
        assert described.int8_nodes == frozenset()
    assert flags == [(False, True) if version.startswith("11") else (True, False), (False, False)]


def test_outputs_come_in_the_file_s_order_and_stay(fake_tensorrt, engine, load, sketch, images):
    """The stand-in's engine has them the other way round."""
    fake_tensorrt()
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    late, early = g.conv(x, 4, 2, "late"), g.conv(x, 4, 5, "early")
    model = load(g.model(early, late))
    with engine().build(with_batch(model.proto, "images", 1)) as session:
        first = session.run(images(seed=1))
        kept = [output.copy() for output in first]
        session.run(images(seed=2))
    assert [output.shape[1] for output in first] == [5, 2]
    for before, after in zip(kept, first, strict=True):
        np.testing.assert_array_equal(before, after)  # not overwritten by the next run


@pytest.mark.parametrize("version", ALL)
def test_explicit_runs_the_file_with_its_qdq(
    version, fake_tensorrt, engine, tiny, quantize, images, run_in_onnxruntime
):
    fake_tensorrt(version)
    quantized = quantize(tiny("residual"), plan=("first",))
    model, x = int8_model(quantized), images(seed=3)
    with engine(half=False).build_int8(model) as session:
        found, described = session.run(x), session.describe()
    np.testing.assert_allclose(found[0], run_in_onnxruntime(model.qdq, x)[0], rtol=1e-4, atol=1e-5)
    assert described.int8_nodes == {"block1", "block2", "fc"}
    assert (described.int8_layers, described.layers) == (3, 4)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("options", [{}, {"half": False}], ids=["usual", "fp32"])
def test_what_is_not_int8_runs_in_fp16_unless_fp32_is_asked_for(
    version, options, fake_tensorrt, engine, tiny, quantize, images, monkeypatch
):
    trt = fake_tensorrt(version)
    asked, real = [], trt.Builder.build_serialized_network

    def build(self: Any, network: Any, config: Any) -> Any:
        kinds = {tensor.data_type for tensor in network._onnx.proto.graph.initializer}
        asked.append(("FP16" in config._flags, onnx.TensorProto.FLOAT16 in kinds))
        return real(self, network, config)

    monkeypatch.setattr(trt.Builder, "build_serialized_network", build)
    model = int8_model(quantize(tiny("residual"), plan=("first",)))
    with engine(**options).build_int8(model) as session:
        session.run(images())
        assert session.describe().int8_nodes == {"block1", "block2", "fc"}
    half = (False, True) if version.startswith("11") else (True, False)
    assert asked == [(False, False) if options else half]


@pytest.mark.parametrize("version", IMPLICIT)
@pytest.mark.parametrize("ranges", ["cache", "dynamic"])
def test_implicit_takes_the_ranges_either_way_and_they_count(
    version, ranges, fake_tensorrt, engine, tiny, quantize, images, sqnr
):
    fake_tensorrt(version)
    quantized = quantize(tiny("residual"), placement="implicit")
    chosen, x = engine(mode="implicit", ranges=ranges), images(seed=3)
    with engine().build(int8_model(quantized).fp32) as session:
        reference = session.run(x)
    with chosen.build_int8(int8_model(quantized)) as session:
        good, described = session.run(x), session.describe()
    narrow = {name: amax / 20 for name, amax in quantized.amax.items()}
    with chosen.build_int8(int8_model(quantized, amax=narrow)) as session:
        clipped = session.run(x)
    assert described.int8_nodes == {"stem", "block1", "block2", "fc"}
    assert sqnr(reference, good) > 25 > 10 > sqnr(reference, clipped)


def test_both_ways_give_one_engine_s_answer(fake_tensorrt, engine, tiny, quantize, images, sqnr):
    fake_tensorrt()
    model = int8_model(quantize(tiny("residual"), placement="implicit"))
    answers = []
    for ranges in ("cache", "dynamic"):
        with engine(mode="implicit", ranges=ranges).build_int8(model) as session:
            answers.append(session.run(images()))
    assert sqnr(*answers) > 60  # a cache rounds scales to float32


@pytest.mark.parametrize("half", [False, True])
def test_layers_that_the_plan_keeps_are_constrained(fake_tensorrt, engine, tiny, quantize, half):
    fake_tensorrt("10.16.1.11")
    kept = frozenset({"stem", "fc"})  # the fc is a product and a sum to TensorRT
    model = int8_model(quantize(tiny("residual"), placement="implicit"), float_nodes=kept)
    with engine(mode="implicit", half=half).build_int8(model) as session:
        session.run(np.zeros((1, 3, 16, 16), np.float32))
        assert session.describe().int8_nodes == {"block1", "block2"}


def test_layers_of_integers_take_no_constraint(fake_tensorrt, engine, load, sketch, quantize):
    fake_tensorrt()
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    shape = g.op("Shape", x, name="shape")
    model = load(g.model(g.conv(g.op("Reshape", x, shape, name="same"), 4, 2, "out")))
    kept = frozenset({"stem", "shape"})
    given = int8_model(quantize(model, placement="implicit"), float_nodes=kept)
    with engine(mode="implicit").build_int8(given) as session:
        session.run(np.zeros((1, 3, 16, 16), np.float32))
        assert session.describe().int8_nodes == {"out"}


def test_layers_that_move_values_take_no_constraint(fake_tensorrt, engine, load, sketch, quantize):
    """TensorRT finds no implementation of a concatenation or a shuffle that is told a precision."""
    fake_tensorrt()
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    y = g.op("Concat", x, g.conv(x, 4, 4, "side"), name="join", axis=1)
    y = g.op("Transpose", g.op("Transpose", y, name="to", perm=[0, 2, 3, 1]), name="back",
             perm=[0, 3, 1, 2])  # fmt: skip
    model = load(g.model(g.conv(y, 8, 2, "out")))
    kept = frozenset({"side", "join", "to", "back"})
    given = int8_model(quantize(model, placement="implicit"), float_nodes=kept)
    with engine(mode="implicit").build_int8(given) as session:
        session.run(np.zeros((1, 3, 16, 16), np.float32))
        assert session.describe().int8_nodes == {"stem", "out"}


def test_a_product_that_cannot_be_constrained_is_told(fake_tensorrt, engine, tiny, quantize):
    trt = fake_tensorrt()
    real = trt.OnnxParser.parse

    def without_names(self: Any, model: bytes, path: str | None = None) -> bool:
        done = bool(real(self, model))
        for layer in self._network._layers:
            layer.name = "(Unnamed Layer)"
            layer._outputs = []
        return done

    trt.OnnxParser.parse = without_names
    model = int8_model(
        quantize(tiny("residual"), placement="implicit"), float_nodes=frozenset({"stem"})
    )
    with pytest.raises(EngineError, match="no layer for stem") as error:
        engine(mode="implicit").build_int8(model)
    one_line(error)
