"""Loading: what cannot work is refused in one line; what can comes out normalised, and the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bench.errors import ModelError
from bench.model.edit import with_batch
from bench.model.onnx_model import OLDEST_OPSET, load_model


def save(proto: onnx.ModelProto, path: Path) -> Path:
    onnx.save(proto, path)
    return path


def refusal(path: Path) -> str:
    """The error's text, which is one line, names the file and says more than what was wrong."""
    with pytest.raises(ModelError) as caught:
        load_model(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    fix = text.rpartition(". ")[2]
    assert fix.startswith(("Check", "Export", "Give", "Only")), text
    return text


# --- refusals -------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.onnx")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html>Not Found</html>", bytes(range(256)) * 20],
    ids=["empty", "web page", "bytes"],
)
@pytest.mark.parametrize("name", ["model.onnx", "model.json", "model.onnxtxt"])
def test_garbage(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    assert "is not a valid ONNX model" in refusal(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_truncated_file(tmp_path, build, kept):
    content = build("residual").SerializeToString()
    path = tmp_path / "half.onnx"
    path.write_bytes(content[: int(len(content) * kept)])
    assert "is not a valid ONNX model" in refusal(path)


def test_weights_beside_the_file_are_missing(tmp_path, build):
    path = tmp_path / "big.onnx"
    onnx.save(
        build("classifier"),
        path,
        save_as_external_data=True,
        location="big.data",
        size_threshold=0,
    )
    load_model(path)
    (tmp_path / "big.data").unlink()
    assert "big.data" in refusal(path)


@pytest.mark.parametrize("kind", ["QuantizeLinear", "DequantizeLinear"])
def test_already_quantized(tmp_path, sketch, kind):
    g = sketch()
    quantized = g.op("QuantizeLinear", "images", g.const(np.float32(0.1)), g.const(np.int8(0)))
    again = g.op("DequantizeLinear", quantized, g.const(np.float32(0.1)), g.const(np.int8(0)))
    text = refusal(save(g.model(g.conv(again, 3, 4, "conv")), tmp_path / "int8.onnx"))
    assert "already quantized" in text
    assert kind in text


def test_two_inputs(tmp_path, sketch):
    g = sketch()
    proto = g.model(g.op("Relu", "images"))
    proto.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    assert "2 inputs (images, other)" in refusal(save(proto, tmp_path / "two.onnx"))


@pytest.mark.parametrize("size", [("h", 16), (16, "w"), ("h", "w")])
def test_open_height_or_width(tmp_path, build, size):
    text = refusal(save(build("silu_concat", size=size), tmp_path / "open.onnx"))
    assert "has an open shape" in text
    assert f"N x 3 x {size[0]} x {size[1]}" in text


def test_wrong_element_type(tmp_path, sketch):
    g = sketch()
    proto = g.model(g.op("Cast", "images", to=TensorProto.FLOAT), elem_type=TensorProto.UINT8)
    assert "UINT8 ?x3x16x16" in refusal(save(proto, tmp_path / "uint8.onnx"))


@pytest.mark.parametrize("channels", [1, 4])
def test_wrong_channels(tmp_path, sketch, channels):
    g = sketch()
    proto = g.model(g.op("Relu", "images"), channels=channels)
    assert f"?x{channels}x16x16" in refusal(save(proto, tmp_path / "grey.onnx"))


def test_operators_that_nobody_knows(tmp_path, sketch):
    g = sketch()
    proto = g.model(g.op("Relu", "images"))
    proto.graph.node[0].domain = "com.acme"
    proto.opset_import.append(helper.make_opsetid("com.acme", 1))
    assert "cannot load" in refusal(save(proto, tmp_path / "custom.onnx"))


def test_an_opset_from_the_future(tmp_path, build):
    proto = build("classifier")
    proto.opset_import[0].version = 99
    refusal(save(proto, tmp_path / "future.onnx"))


# --- what comes out -------------------------------------------------------------------------------


def test_facts_about_the_file(tmp_path, build):
    path = save(build("distribution"), tmp_path / "model.onnx")
    model = load_model(path)
    assert model.path == path
    assert model.input_name == "images"
    assert model.input_shape == (None, 3, 16, 16)
    assert (model.height, model.width) == (16, 16)
    assert model.output_names == ("all_out",)
    fixed = load_model(save(build("classifier", batch=4), tmp_path / "fixed.onnx"))
    assert fixed.input_shape == (4, 3, 16, 16)
    assert fixed.sha256 != model.sha256


def test_height_and_width_are_not_mixed_up(load, build):
    model = load(build("silu_concat", size=(16, 32)))
    assert (model.height, model.width) == (16, 32)


def test_outputs_are_those_of_the_file(tiny_name, tiny, build, images, run_in_onnxruntime):
    x = images(1)
    before = run_in_onnxruntime(build(tiny_name), x, optimized=False)
    after = run_in_onnxruntime(tiny(tiny_name).proto, x)
    for expected, found in zip(before, after, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_normal_form(tiny_name, tiny):
    proto = tiny(tiny_name).proto
    assert all(node.op_type != "Constant" for node in proto.graph.node)
    assert all(node.op_type != "BatchNormalization" for node in proto.graph.node)
    names = [node.name for node in proto.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    versions = {opset.domain: opset.version for opset in proto.opset_import}
    assert versions[""] >= OLDEST_OPSET
    onnx.checker.check_model(proto)


def test_opset_is_raised_but_never_lowered(tiny):
    assert tiny("old_opset").proto.opset_import[0].version == 13
    assert tiny("classifier").proto.opset_import[0].version == 17


def test_nodes_without_or_with_the_same_name(load, build):
    proto = build("classifier")
    for node in proto.graph.node:
        node.name = "" if node.op_type == "Relu" else "same"
    names = [node.name for node in load(proto).proto.graph.node]
    assert len(set(names)) == len(names) == 7


def test_shapes_at_batch_one_are_inferred(tiny_name, tiny):
    proto = tiny(tiny_name).proto
    known = {v.name: v.type.tensor_type for v in (*proto.graph.value_info, *proto.graph.output)}
    for node in proto.graph.node:
        for name in node.output:
            dims = known[name].shape.dim
            assert dims
            assert all(d.HasField("dim_value") for d in dims), name
            assert dims[0].dim_value == 1 or known[name].elem_type != TensorProto.FLOAT


@pytest.mark.parametrize("ir_version", [3, 4, 8])
def test_weights_among_the_inputs(load, build, images, run_in_onnxruntime, ir_version):
    """As ONNX wanted it before IR version 4, and as PyTorch long went on to write it."""
    proto = build("old_opset")
    expected = run_in_onnxruntime(proto, images())
    proto.ir_version = ir_version
    proto.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in proto.graph.initializer
    )
    model = load(proto)
    assert [value.name for value in model.proto.graph.input] == ["images"]
    assert "BatchNormalization" not in [node.op_type for node in model.proto.graph.node]
    found = run_in_onnxruntime(model.proto, images())
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)


def test_hash_covers_weights_beside_the_file(tmp_path, build):
    path, data = tmp_path / "big.onnx", tmp_path / "big.data"
    onnx.save(
        build("classifier"), path, save_as_external_data=True, location=data.name, size_threshold=0
    )
    before = load_model(path)
    content = bytearray(data.read_bytes())
    content[3] ^= 0x01
    data.write_bytes(content)
    assert load_model(path).sha256 != before.sha256


# --- batch ----------------------------------------------------------------------------------------


def test_any_batch_can_be_fixed(tiny_name, tiny, build, images, run_in_onnxruntime):
    model, x = tiny(tiny_name), images(3)
    proto = with_batch(model.proto, model.input_name, 3)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    assert model.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    expected = run_in_onnxruntime(build(tiny_name), x)
    found = run_in_onnxruntime(proto, x)
    assert found[0].shape[0] == 3
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)


def test_every_image_of_a_batch_counts(tiny, images, run_in_onnxruntime):
    model, x = tiny("residual"), images(2)
    both = run_in_onnxruntime(with_batch(model.proto, "images", 2), x)[0]
    for row in range(2):
        alone = run_in_onnxruntime(model.proto, x[row : row + 1])[0]
        np.testing.assert_allclose(both[row : row + 1], alone, rtol=1e-4, atol=1e-5)
