"""The engine inspector's JSON, as versions of TensorRT write it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.engine.trt.inspector import read_layers, read_nodes

INT8 = "Thirty-two wide channel vectorized row major Int8 format"
FP32, FP16 = "Row major linear FP32", "Channel major FP16 format where channel % 8 == 0"


def layer(name: str, kind: str, **more: Any) -> dict[str, Any]:
    tensor = {
        "Name": "x",
        "Location": "Device",
        "Dimensions": [1, 3, 8, 8],
        "Format/Datatype": kind,
    }
    return {"Name": name, "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": []} | more


def read(*layers: Any, nodes: tuple[str, ...] = ("conv1", "conv2")) -> Any:
    return read_layers(json.dumps({"Layers": layers, "Bindings": []}), nodes)


def test_fused_names_are_taken_apart() -> None:
    described = read(layer("conv1 + relu1", INT8), layer("PWN(PWN(sigmoid), mul)", INT8))
    assert described.int8_nodes == {"conv1"}
    assert (described.int8_layers, described.layers) == (1, 1)


def test_siblings_in_one_layer_count_both_nodes() -> None:
    described = read(layer("conv1 + relu1 || conv2 + relu2", INT8))
    assert described.int8_nodes == {"conv1", "conv2"}
    assert (described.int8_layers, described.layers) == (1, 1)


def test_explicit_quantization_puts_weights_in_the_name() -> None:
    name = "conv1/weight/quantized + conv1/weight/DequantizeLinear + conv1 + PWN(relu1)"
    assert read(layer(name, INT8)).int8_nodes == {"conv1"}


def test_names_with_slashes_and_dots_stay_whole() -> None:
    name = "/model.22/cv2.1/cv2.1.0/conv/Conv"
    described = read(layer(f"{name} + /model.22/cv2.1/cv2.1.0/act/Relu", INT8), nodes=(name,))
    assert described.int8_nodes == {name}


def test_metadata_names_the_nodes_of_a_region() -> None:
    told = {"Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]\x1e[ONNX Layer: conv2]"}
    described = read(layer("{ForeignNode[conv1...conv2]}", INT8, **told))
    assert described.int8_nodes == {"conv1", "conv2"}


def test_separators_in_the_metadata_need_no_escape() -> None:
    told = {"Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]"}
    information = json.dumps({"Layers": [layer("conv1", INT8, **told)]})
    described = read_layers(information.replace("\\u001e", "\x1e"), ("conv1",))
    assert described.int8_nodes == {"conv1"}


@pytest.mark.parametrize("kind", [FP32, FP16])
def test_what_reads_float_is_no_int8_layer_whatever_it_writes(kind: str) -> None:
    output = {"Name": "y", "Format/Datatype": INT8}
    described = read(layer("conv1", kind, Outputs=[output]), layer("conv2", INT8))
    assert described.int8_nodes == {"conv2"}
    assert (described.int8_layers, described.layers) == (1, 2)


def test_a_change_of_format_before_a_layer_is_not_that_layer() -> None:
    siblings = "conv1 + relu1 || conv2 + relu2"
    copy = layer(f"Reformatting CopyNode for Input Tensor 0 to {siblings}", INT8)
    described = read(copy | {"LayerType": "Reformat"}, layer(siblings, FP32))
    assert described.int8_nodes == frozenset()
    assert described.layers == 1


def test_an_engine_without_detail_has_names_only() -> None:
    """As with another profiling verbosity: then nothing is claimed."""
    assert read("conv1 + relu1").layers == 0


def test_tensorrt_11_tells_format_and_type_apart() -> None:
    """And its network's ends as "I/O Tensors"."""

    def tensor(format: str, kind: str) -> list[dict[str, Any]]:
        return [{"Name": "x", "Dimensions": [1, 32, 8, 8], "Format": format, "DataType": kind}]

    layers = [
        layer("conv1", "", Inputs=tensor("NC/32HW32", "Int8")),
        layer("conv2", "", Inputs=tensor("NC/8HW8", "Half"), Outputs=tensor("NC/32HW32", "Int8")),
    ]
    told = {"Layers": layers, "I/O Tensors": ["x"]}
    assert read_layers(json.dumps(told), ("conv1", "conv2")).int8_nodes == {"conv1"}


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_keys_are_compared_without_their_case(change: Any) -> None:
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {change(key): changed(own) for key, own in value.items()}
        return [changed(one) for one in value] if isinstance(value, list) else value

    copy = layer("copy for conv2", INT8) | {"LayerType": "REFORMAT"}
    layers = [layer("conv1 + relu1", INT8), copy, layer("conv2", FP32)]
    described = read_layers(json.dumps(changed({"Layers": layers})), ("conv1", "conv2"))
    assert described.int8_nodes == {"conv1"}
    assert (described.int8_layers, described.layers) == (1, 2)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "no JSON"])
def test_what_holds_no_layers_leaves_it_unknown(text: str) -> None:
    assert read_layers(text, ["conv1"]).int8_nodes is None


def test_a_change_of_format_is_for_the_layer_behind_it() -> None:
    copy = "Reformatting CopyNode for Input Tensor 0 to conv1 + relu1"
    layers = [
        {"Name": copy, "LayerType": "Reformat"},
        {"Name": "conv1 + relu1", "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]"},
        {"Name": "unlike anything"},
        "not a layer",
    ]
    names = ("conv1", "relu1", "conv2")
    assert read_nodes(json.dumps({"Layers": layers}), names) == {
        copy: ("conv1", "relu1"),
        "conv1 + relu1": ("conv1", "relu1"),
        "unlike anything": (),
    }
    assert read_nodes("no JSON", names) == {}
