"""Files that are quantized already, read back and said of the FP32 model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime.quantization as ort_quantization
import pytest
from onnx import numpy_helper

from bench.errors import ModelError
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.model.quantized import QuantizedOnnx, load_quantized
from bench.quantization.given_points import check_same_input, match_given
from bench.quantization.grid import amax_of
from bench.quantization.qdq import insert_qdq

MODELS = (
    "classifier", "residual", "silu_concat", "depthwise", "distribution", "matmul",
    "gemm_untransposed", "upsampling",
)  # fmt: skip


def shuffled(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    order = np.random.default_rng(seed).permutation(len(proto.graph.node))
    del changed.graph.node[:]
    changed.graph.node.extend(proto.graph.node[int(index)] for index in order)
    return changed


class Reader(ort_quantization.CalibrationDataReader):
    def __init__(self, batches: list[np.ndarray]) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._left, None)
        return None if batch is None else {"images": batch}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[onnx.ModelProto], QuantizedOnnx]:
    def save_and_read(proto: onnx.ModelProto) -> QuantizedOnnx:
        onnx.save(proto, tmp_path / "quantized.onnx")
        return load_quantized(tmp_path / "quantized.onnx")

    return save_and_read


@pytest.fixture
def with_onnxruntime(tmp_path: Path, images) -> Callable[..., Path]:
    """ONNX Runtime's quantizer on a model and four images."""

    def run(model: OnnxModel, **options) -> Path:
        onnx.save(model.proto, tmp_path / "fp32.onnx")
        out = tmp_path / "theirs.onnx"
        data = Reader([images(seed=seed) for seed in range(4)])
        ort_quantization.quantize_static(str(tmp_path / "fp32.onnx"), str(out), data, **options)
        return out

    return run


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("placement", ["explicit", "implicit"])
def test_a_file_of_ours_is_read_back_as_it_was_made(name, placement, tiny, quantize, read) -> None:
    made = quantize(tiny(name), placement=placement)
    given = match_given(read(made.proto), made.graph)
    products = made.points.products(made.graph)
    assert given.points.products(made.graph) == products
    assert set(given.points.weighted_nodes) == set(made.points.weighted_nodes)
    assert given.points.mac_share(made.graph) == made.points.mac_share(made.graph)
    ours = {edge for edge in made.points.edges if edge.node in made.graph.compute}
    assert ours <= set(given.points.edges)
    for tensor in made.points.tensors:
        assert amax_of(given.ranges[tensor]) == pytest.approx(made.amax[tensor], rel=1e-6)


def test_layers_in_float_are_seen(tiny, quantize, read) -> None:
    made = quantize(tiny("residual"), plan=("first",))
    given = match_given(read(made.proto), made.graph)
    assert not made.graph.first & given.points.products(made.graph)
    assert given.points.mac_share(made.graph) < 1


def test_renamed_layers_are_matched_by_their_order(tiny, quantize, read) -> None:
    made = quantize(tiny("classifier"))
    renamed = onnx.ModelProto()
    renamed.CopyFrom(made.proto)
    for index, node in enumerate(renamed.graph.node):
        node.name = f"layer{index}"
    given = match_given(read(renamed), made.graph)
    assert given.points.products(made.graph) == made.points.products(made.graph)
    assert {n.name for n in given.proto.graph.node} >= set(made.graph.compute)


def test_the_file_of_another_model_is_refused(tiny, quantize, read) -> None:
    theirs = read(quantize(tiny("classifier")).proto)
    with pytest.raises(ModelError, match="not those of the FP32 model"):
        match_given(theirs, Graph(tiny("residual")))


def test_another_input_size_is_refused(tiny, quantize, read) -> None:
    made = quantize(tiny("classifier"))
    wide = onnx.ModelProto()
    wide.CopyFrom(made.proto)
    wide.graph.input[0].type.tensor_type.shape.dim[3].dim_value *= 2
    with pytest.raises(ModelError, match="takes images of"):
        check_same_input(read(wide), made.model)


def test_a_float_file_is_refused(tiny, read) -> None:
    with pytest.raises(ModelError, match="nothing in it is INT8"):
        read(tiny("classifier").proto)


def test_an_activation_with_a_scale_per_channel_is_named(tiny, quantize, read) -> None:
    """NNCF gives the inputs of depthwise convolutions such scales; TensorRT does not take them."""
    made = quantize(tiny("classifier"))
    proto = onnx.ModelProto()
    proto.CopyFrom(made.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in ("images/scale", "images/zero_point"):
            scalar = numpy_helper.to_array(tensor)
            values = np.array([1, 2, 3], np.float32) * scalar if scalar.dtype == np.float32 else 0
            array = np.full(3, values, scalar.dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    quantized = read(proto)
    assert quantized.per_channel == ("images",)
    assert quantized.tensors["images"][1] == pytest.approx(3 * made.amax["images"])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_both_formats_of_onnxruntime_are_read(
    name, per_channel, form, tiny, with_onnxruntime, run_in_onnxruntime, images, sqnr
) -> None:
    """The Q/DQ form computes what the file of ONNX Runtime computes, up to rounding."""
    model = tiny(name)
    graph = Graph(model)
    file = with_onnxruntime(
        model,
        per_channel=per_channel,
        quant_format=getattr(ort_quantization.QuantFormat, form),
        reduce_range=True,  # kernels without VNNI saturate otherwise
    )
    theirs = load_quantized(file)
    given = match_given(theirs, graph)
    assert not {n.op_type for n in given.proto.graph.node if n.op_type.startswith("QL")}
    assert given.points.products(graph)
    batch = images(seed=9)
    expected = run_in_onnxruntime(onnx.load(file), batch)
    assert sqnr(expected, run_in_onnxruntime(given.proto, batch, optimized=False)) > 25


def test_dynamic_quantization_is_refused(tiny, tmp_path) -> None:
    onnx.save(tiny("gemm_untransposed").proto, tmp_path / "fp32.onnx")
    ort_quantization.quantize_dynamic(str(tmp_path / "fp32.onnx"), str(tmp_path / "dynamic.onnx"))
    with pytest.raises(ModelError, match="quantizes dynamically"):
        load_quantized(tmp_path / "dynamic.onnx")


def test_a_file_of_ours_gives_the_same_outputs(
    tiny, quantize, read, run_in_onnxruntime, images
) -> None:
    made = quantize(tiny("silu_concat"))
    given = match_given(read(made.proto), made.graph)
    batch = images(seed=5)
    for ours, theirs in zip(
        run_in_onnxruntime(made.proto, batch), run_in_onnxruntime(given.proto, batch), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_ranges_reach_the_writer_again(tiny, quantize, read) -> None:
    """Scales read from a file are the ones that ``insert_qdq`` writes."""
    made = quantize(tiny("residual"))
    given = match_given(read(made.proto), made.graph)
    again = insert_qdq(made.model, made.graph, given.points, given.ranges)
    scales = {t.name: numpy_helper.to_array(t) for t in made.proto.graph.initializer}
    for tensor in again.graph.initializer:
        if tensor.name.endswith("/scale"):
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), scales[tensor.name])


def test_nodes_in_another_order_are_sorted(read, quantize, tiny) -> None:
    """AMD Quark writes such files."""
    proto = quantize(tiny("residual")).proto
    sorted_file, other = read(proto), read(shuffled(proto, 1))
    assert [node.name for node in other.proto.graph.node] != [
        node.name for node in shuffled(proto, 1).graph.node
    ]
    onnx.checker.check_model(other.proto)
    assert dict(other.edges) == dict(sorted_file.edges)
    assert set(other.products) == set(sorted_file.products)


def test_a_cycle_is_one_line(read, quantize, tiny) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(quantize(tiny("classifier")).proto)
    proto.graph.node[0].input[0] = proto.graph.node[-1].output[0]
    with pytest.raises(ModelError, match="not a valid ONNX model") as error:
        read(proto)
    assert "\n" not in str(error.value)
