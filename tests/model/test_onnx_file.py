"""What an ONNX file may say and must not: each is one line, and nothing is read or computed.

Before, most of these hung, ended the process or gave a traceback; or a row that meant nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.errors import ModelError
from bench.model.onnx_model import load_model

Build = Callable[..., onnx.ModelProto]


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path.name) in line
    return line


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def refused(proto: onnx.ModelProto, folder: Path) -> str:
    return refusal(saved(proto, folder))


def with_data_at(place: str, build: Build) -> onnx.ModelProto:
    """The classifier with its first weights elsewhere."""
    proto = build("classifier")
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    return proto


# --- data beside the file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["/dev/zero", "../outside.bin", "inner/../../outside.bin", "link.bin", "inner/link"]
)
def test_data_outside_of_the_folder_is_not_read(place: str, build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "outside.bin").write_bytes(bytes(10_000))
    (folder / "link.bin").symlink_to("/dev/zero")
    (folder / "inner" / "link").symlink_to(tmp_path / "outside.bin")
    line = refused(with_data_at(place, build), folder)
    assert f"takes data from {place}, outside its folder" in line


def test_data_in_a_pipe_or_nowhere_is_not_waited_for(build: Build, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = saved(with_data_at("pipe", build), tmp_path)
    with pytest.raises(ModelError, match="pipe is not a regular file"):
        load_model(path)
    with pytest.raises(ModelError, match="pipe is not a regular file"):
        load_model(tmp_path / "pipe")
    assert "nowhere.bin, which does not exist" in refused(
        with_data_at("nowhere.bin", build), tmp_path
    )
    assert "does not name its data file" in refused(with_data_at("", build), tmp_path)


def test_data_beyond_what_a_model_can_hold_is_not_read(build: Build, tmp_path: Path) -> None:
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(2**40)
    assert "more than the 2 GiB" in refused(with_data_at("huge.bin", build), tmp_path)
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31)
    assert "more than the 2 GiB" in refusal(tmp_path / "huge.onnx")


def test_a_link_to_a_model_in_its_folder_is_followed(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        build("classifier"), path, save_as_external_data=True, location="data.bin",
        size_threshold=0,
    )  # fmt: skip
    (tmp_path / "link.onnx").symlink_to("model.onnx")
    assert load_model(tmp_path / "link.onnx").sha256 == load_model(path).sha256


def test_the_key_changes_with_data_of_a_constant_node(tmp_path: Path, build: Build) -> None:
    """Weights may stand in attributes of nodes too."""
    proto = build("classifier")
    weights = proto.graph.initializer[0]
    constant = helper.make_node("Constant", [], [weights.name], value=weights)
    proto.graph.node.insert(0, constant)
    del proto.graph.initializer[0]
    kept = numpy_helper.to_array(weights)
    tensor = proto.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="constant.bin")
    keys = set()
    for scale in (1, 2):
        (tmp_path / "constant.bin").write_bytes((kept * scale).astype("<f4").tobytes())
        keys.add(load_model(saved(proto, tmp_path)).sha256)
    assert len(keys) == 2


# --- what a file says -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("constant", [False, True])
def test_weights_that_are_no_numbers(
    value: float, constant: bool, build: Build, tmp_path: Path
) -> None:
    proto = build("classifier")
    weights = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weights.flat[:3] = value
    tensor = numpy_helper.from_array(weights, proto.graph.initializer[0].name)
    del proto.graph.initializer[0]
    if constant:
        proto.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    else:
        proto.graph.initializer.append(tensor)
    line = refused(proto, tmp_path)
    assert "have 3 values that are not finite numbers" in line


def test_infinity_that_limits_nothing_is_a_value(sketch, tmp_path: Path) -> None:
    g = sketch()
    x = g.op("Max", g.conv("images", 3, 8, "stem"), g.const(np.float32(-np.inf)))
    load_model(saved(g.model(g.classify(x, 8, 10)), tmp_path))


def change(name: str) -> Callable[[onnx.ModelProto], None]:
    """A way to break the classifier."""

    def only_custom(proto: onnx.ModelProto) -> None:
        del proto.opset_import[:]
        proto.opset_import.add(domain="custom", version=1)
        for node in proto.graph.node:
            node.domain = "custom"

    def attribute(key: str, value: object) -> Callable[[onnx.ModelProto], None]:
        def set_it(proto: onnx.ModelProto) -> None:
            node = next(node for node in proto.graph.node if node.op_type == "Conv")
            kept = [own for own in node.attribute if own.name != key]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(key, value)])

        return set_it

    def huge_weights(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[0] = 2**31

    def negative_weights(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[0] = -1

    def huge_input(proto: onnx.ModelProto) -> None:
        for axis in (2, 3):
            proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 30_000

    def negative_input(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -64

    def unknown_type(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.elem_type = 99

    ways = {
        "only_custom": only_custom, "group": attribute("group", 0),
        "strides": attribute("strides", [0, 1]), "dilations": attribute("dilations", [1, 0]),
        "huge_weights": huge_weights, "negative_weights": negative_weights,
        "huge_input": huge_input, "negative_input": negative_input, "unknown_type": unknown_type,
    }  # fmt: skip
    return ways[name]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("only_custom", "imports no opset of standard ONNX operators"),
        ("group", "has group 0, which is below 1"),
        ("strides", "has strides 0, which is below 1"),
        ("dilations", "has dilations 0, which is below 1"),
        ("huge_weights", "have the shape 2147483648x"),
        ("negative_weights", "have the shape -1x"),
        ("huge_input", "has 30000x30000 pixels, more than 67,108,864"),
        ("negative_input", "has an open shape"),
        ("unknown_type", "99"),
    ],
)
def test_values_that_nothing_can_compute_with(
    name: str, told: str, build: Build, tmp_path: Path
) -> None:
    proto = build("classifier")
    change(name)(proto)
    assert told in refused(proto, tmp_path)


def test_a_tensor_that_would_fill_the_memory(sketch, tmp_path: Path) -> None:
    g = sketch()
    x = g.op("ConstantOfShape", g.const(np.array([2**16, 2**16])))
    y = g.op("ReduceMax", x, keepdims=0)
    proto = g.model(g.op("Add", g.classify(g.conv("images", 3, 8, "stem"), 8, 10), y))
    assert "has 65536x65536 values, more than 268,435,456" in refused(proto, tmp_path)


@pytest.mark.parametrize("name", [b"images", b"Conv"])
def test_names_that_are_not_utf_8(name: bytes, build: Build, tmp_path: Path) -> None:
    content = build("classifier").SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content.replace(name, b"\xff" * len(name)))
    assert "is not UTF-8 text" in refusal(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04" + bytes(100), "a zip archive, such as PyTorch saves, not an ONNX model"),
        (b"\x80\x02}q\x00.", "is a pickle, not an ONNX model"),
    ],
)
def test_a_checkpoint_is_called_one(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert told in refusal(path)
    shutil.copy(path, tmp_path / "model.onnx")
    assert "Export the model to ONNX" in refusal(tmp_path / "model.onnx")
