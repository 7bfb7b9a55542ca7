"""Engines: one file, one answer; what they say they ran in INT8; what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.errors import EngineError
from bench.model.edit import with_batch

ENGINES: dict[str, Any] = {"openvino": OpenVino(threads=1), "onnxruntime": OnnxRuntime(threads=1)}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
placements = pytest.mark.parametrize("placement", ["explicit", "implicit"])


def run(engine: Any, proto: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    with engine.build(with_batch(proto, "images", len(x))) as session:
        return list(session.run(x))


def run_exactly(engine: Any, proto: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    with engine.build_exact(with_batch(proto, "images", len(x))) as session:
        return list(session.run(x))


# --- one answer -----------------------------------------------------------------------------------


@placements
def test_engines_agree_on_the_same_file(
    tiny_name, tiny, quantize, images, sqnr, placement, seven_bits
):
    """Exactly on every file; their int8 kernels where no processor's saturate."""
    proto = quantize(tiny(tiny_name), placement=placement).proto
    x = images(seed=50)
    exact = {name: run_exactly(engine, proto, x) for name, engine in ENGINES.items()}
    assert sqnr(exact["onnxruntime"], exact["openvino"]) > 35
    proto = seven_bits(proto)
    found = {name: run(engine, proto, x) for name, engine in ENGINES.items()}
    assert sqnr(found["onnxruntime"], found["openvino"]) > 35


@engines
def test_fp32_is_that_of_the_file(tiny_name, tiny, build, engine, images, run_in_onnxruntime):
    x = images(2, seed=51)
    expected = run_in_onnxruntime(build(tiny_name), x, optimized=False)
    for e, f in zip(expected, run(engine, tiny(tiny_name).proto, x), strict=True):
        assert f.dtype == np.float32
        np.testing.assert_allclose(f, e, rtol=1e-3, atol=1e-4)


@engines
def test_a_batch_is_its_images(tiny, quantize, images, sqnr, engine):
    proto, x = quantize(tiny("residual")).proto, images(3, seed=52)
    together = run(engine, proto, x)
    alone = [run(engine, proto, x[row : row + 1])[0] for row in range(3)]
    assert sqnr([np.concatenate(alone)], together) > 60


@engines
def test_outputs_come_in_the_file_s_order_and_stay(load, sketch, images, engine):
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    late, early = g.conv(x, 4, 2, "late"), g.conv(x, 4, 5, "early")
    model = load(g.model(early, late))
    with engine.build(with_batch(model.proto, "images", 1)) as session:
        first = session.run(images(seed=1))
        kept = [output.copy() for output in first]
        second = session.run(images(seed=2))
    assert [output.shape[1] for output in first] == [5, 2]
    for before, after, other in zip(kept, first, second, strict=True):
        np.testing.assert_array_equal(before, after)  # not overwritten by the next run
        assert not np.array_equal(after, other)


# --- what runs in INT8 ----------------------------------------------------------------------------


@engines
def test_fp32_has_no_int8_nodes(tiny_name, tiny, engine):
    model = tiny(tiny_name)
    with engine.build(model.proto) as session:
        described = session.describe()
    assert described.int8_nodes == frozenset()
    assert described.int8_layers == 0
    assert described.layers >= 1


@placements
def test_openvino_runs_every_quantized_product_in_int8(tiny_name, tiny, quantize, placement):
    q = quantize(tiny(tiny_name), placement=placement)
    with ENGINES["openvino"].build(with_batch(q.proto, "images", 1)) as session:
        described = session.describe()
    assert described.int8_nodes == set(q.graph.compute)
    assert described.int8_layers == described.layers == len(q.graph.compute)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("classifier", "fc"),
        ("classifier", "stem"),
        ("residual", "block1"),
        ("silu_concat", "fuse"),
        ("depthwise", "depthwise"),
        ("distribution", "dfl"),
        ("matmul", "mix"),
        ("upsampling", "up"),
    ],
)
def test_openvino_with_one_node_in_float(tiny, quantize, name, kept):
    q = quantize(tiny(name), (f"name:^{kept}$",))
    with ENGINES["openvino"].build(with_batch(q.proto, "images", 1)) as session:
        described = session.describe()
    assert described.int8_nodes == set(q.graph.compute) - {kept}
    assert described.int8_layers == described.layers - 1


def test_openvino_names_products_amid_the_network(load, sketch, quantize):
    """Transposed convolutions and Gemm lose their names when a bias or a scale is cut off them."""
    g = sketch(1)
    x = g.op("Relu", g.conv("images", 3, 8, "stem"), name="relu0")
    weight, bias = g.const(g.normal(8, 4, 2, 2)), g.const(g.normal(4))
    x = g.op("ConvTranspose", x, weight, bias, name="up_biased", strides=[2, 2])
    x = g.op("Relu", x, name="relu1")
    x = g.op("ConvTranspose", x, g.const(g.normal(4, 4, 2, 2)), name="up", strides=[2, 2])
    x = g.op("Flatten", g.op("GlobalAveragePool", x, name="pool"), name="flat")
    x = g.op("Sigmoid", g.op("Gemm", x, g.const(g.normal(4, 8)), name="plain"), name="squash")
    last = g.op("Gemm", x, g.const(g.normal(8, 6)), g.const(g.normal(6)), name="biased")
    q = quantize(load(g.model(last)))
    with ENGINES["openvino"].build(with_batch(q.proto, "images", 1)) as session:
        found = session.describe().int8_nodes
    assert found >= {"stem", "up_biased", "up", "biased"}
    assert found <= set(q.graph.compute)


@pytest.mark.parametrize(
    ("name", "placement", "fused"),
    [
        ("classifier", "implicit", {"stem", "down"}),
        ("residual", "explicit", {"block2"}),
        ("depthwise", "implicit", {"stem", "depthwise", "pointwise"}),
        ("silu_concat", "explicit", set()),  # an activation stands between Conv and Q
        ("matmul", "implicit", {"stem", "attend"}),  # of two activations, so without weights
    ],
)
def test_onnxruntime_says_what_it_fused(tiny, quantize, name, placement, fused):
    q = quantize(tiny(name), placement=placement)
    with ENGINES["onnxruntime"].build(with_batch(q.proto, "images", 1)) as session:
        described = session.describe()
        again = session.describe()
    assert described == again
    assert described.int8_nodes == fused
    assert described.int8_layers == len(fused)
    assert described.layers == len(q.graph.compute)


@engines
def test_describing_does_not_disturb_running(tiny, quantize, images, engine):
    proto = with_batch(quantize(tiny("residual")).proto, "images", 1)
    with engine.build(proto) as session:
        before = session.run(images())[0]
        session.describe()
        np.testing.assert_array_equal(session.run(images())[0], before)


# --- refusals, resources, options -----------------------------------------------------------------


def broken(kind: str, sketch: Any) -> onnx.ModelProto:
    if kind == "empty":
        return onnx.ModelProto()
    g = sketch()
    proto: onnx.ModelProto = g.model(g.op("Relu", "images", name="relu"))
    if kind == "unknown operator":
        proto.graph.node[0].op_type = "Frobnicate"
    else:
        proto.graph.node[0].input[0] = "nowhere"
    return proto


@engines
@pytest.mark.parametrize("kind", ["empty", "unknown operator", "dangling input"])
def test_a_broken_model_is_refused_in_one_line(sketch, engine, kind):
    with pytest.raises(EngineError) as caught:
        engine.build(broken(kind, sketch))
    text = str(caught.value)
    assert "\n" not in text
    assert "refuses the model" in text
    assert len(text) < 600


@engines
def test_a_session_gives_its_resources_back(tiny, images, engine):
    with engine.build(tiny("classifier").proto) as session:
        assert session.run(images())[0].shape == (1, 5)
    with pytest.raises(AttributeError):
        session.run(images())


@engines
def test_a_session_gives_its_resources_back_after_an_error(tiny, engine):
    with pytest.raises(KeyError), engine.build(tiny("classifier").proto) as session:
        raise KeyError
    with pytest.raises(AttributeError):
        session.run(None)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(tiny, threads):
    proto = tiny("classifier").proto
    with OpenVino(threads=threads).build(proto) as session:
        assert session._compiled.get_property("INFERENCE_NUM_THREADS") == threads
    with OnnxRuntime(threads=threads).build(proto) as session:
        assert session._session.get_session_options().intra_op_num_threads == threads


@pytest.mark.parametrize("kind", [OpenVino, OnnxRuntime])
def test_what_an_engine_tells_of_itself(kind):
    engine = kind()
    assert engine.threads == 0
    assert engine.name == {OpenVino: "openvino", OnnxRuntime: "onnxruntime"}[kind]
    assert engine.version[0].isdigit()
    assert engine.options != kind(threads=3).options
    assert hash(engine) == hash(kind())
    assert engine != kind(threads=3)
