"""The script that builds a TensorRT engine of a bundle asks each version for what it knows.

``FakeTensorRt`` records what it is asked; names that a version lacks are missing from it (10.16 and
11.4: their bindings; 8.5: its documentation).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

pytestmark = pytest.mark.e2e


class Tensor:
    def __init__(self, name: str) -> None:
        self.name, self.dtype = name, "float32"
        self.range: tuple[float, float] | None = None

    def set_dynamic_range(self, low: float, high: float) -> None:
        self.range = (low, high)


class PlainLayer:
    """What ``get_layer`` gives, whatever the layer."""

    num_outputs, precision, source = 1, None, Tensor("")
    _values: Any = None

    def __init__(self, kind: str) -> None:
        self.name, self.type = f"(Unnamed Layer) [{kind}]", kind
        self._output = Tensor(f"{self.name}_output")

    def get_output(self, index: int) -> Tensor:
        return self._output

    def get_input(self, index: int) -> Tensor:
        return self.source


class ConstantLayer(PlainLayer):
    @property
    def weights(self) -> Any:
        return self._values


class Network:
    """The ONNX file's nodes as layers."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.layers: list[Any] = []
        self.source = Tensor("")
        self.num_inputs = 1

    def read(self, proto: onnx.ModelProto) -> None:
        self.source = Tensor(proto.graph.input[0].name)
        for node in proto.graph.node:
            outputs = [Tensor(name) for name in node.output]
            layer = SimpleNamespace(
                name=node.name, num_outputs=len(outputs), precision=None, type="OTHER"
            )
            layer.get_output, layer.kinds = outputs.__getitem__, {}
            layer.set_output_type = layer.kinds.__setitem__
            self.layers.append(layer)
            if node.op_type == "Gemm":  # becomes a product, and a sum that makes the node's output
                layer.get_output = [Tensor(f"{node.output[0]}_product")].__getitem__
                self.add_bias(node, proto)
                total = SimpleNamespace(
                    name=f"{node.name}_sum", num_outputs=1, precision=None, type="ELEMENTWISE"
                )
                total.get_output, total.kinds = outputs.__getitem__, {}
                total.set_output_type = total.kinds.__setitem__
                self.layers.append(total)

    def add_bias(self, node: onnx.NodeProto, proto: onnx.ModelProto) -> None:
        """A constant, and a shuffle of it: as everywhere, a class that must be asked for."""
        bias = next(own for own in proto.graph.initializer if own.name == node.input[2])
        constant, shuffle = PlainLayer("CONSTANT"), PlainLayer("SHUFFLE")
        constant._values = numpy_helper.to_array(bias)
        shuffle.source = constant.get_output(0)
        self.layers += [constant, shuffle]

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Tensor:
        return self.source

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


class FakeTensorRt(ModuleType):
    """One version; ``network`` and ``flags`` are what the last build was given."""

    float32 = "float32"
    LayerType = SimpleNamespace(CONSTANT="CONSTANT", SHUFFLE="SHUFFLE")
    IConstantLayer = ConstantLayer

    def __init__(self, version: str, parses: bool = True, builds: bool = True) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        major = int(version.split(".")[0])
        creation = {"EXPLICIT_BATCH": 0} if major < 11 else {}
        creation |= {"STRONGLY_TYPED": 1} if major >= 10 else {}
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**creation)
        removed = {} if major > 10 else {"INT8": "INT8", "OBEY_PRECISION_CONSTRAINTS": "OBEY"}
        self.BuilderFlag = SimpleNamespace(TF32="TF32", **removed)
        self.Logger = type("Logger", (), {"WARNING": 1, "__init__": lambda self, level: None})
        self.flags: list[str] = []
        self.network = Network(0)

        def create_network(flags: int) -> Network:
            self.network = Network(flags)
            return self.network

        self.cleared: list[str] = []
        config = SimpleNamespace(set_flag=self.flags.append, clear_flag=self.cleared.append)
        self.Builder = lambda log: SimpleNamespace(
            create_network=create_network,
            create_builder_config=lambda: config,
            build_serialized_network=lambda network, config: b"engine" if builds else None,
        )

        def parse(content: bytes) -> bool:
            self.network.read(onnx.ModelProto.FromString(content))
            return parses

        self.OnnxParser = lambda network, log: SimpleNamespace(
            parse=parse, get_error=lambda index: "no such operator"
        )


def build(bundle: Path, mode: str, trt: ModuleType | None, monkeypatch, out: Path) -> int:
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    spec = importlib.util.spec_from_file_location("carried", bundle / "build_engine.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    status: int = module.main([mode, "--out", str(out)])
    return status


@pytest.mark.parametrize(
    ("version", "creation", "flags"),
    [
        ("8.5.1.7", 1 << 0, ["INT8"]),
        ("8.6.1", 1 << 0, ["INT8"]),
        ("10.16.1.11", 1 << 1, []),
        ("11.4.0.106", 1 << 1, []),
    ],
)
def test_explicit_builds_the_qdq_file(bundles, version, creation, flags, monkeypatch, tmp_path):
    trt = FakeTensorRt(version)
    assert build(bundles["all"], "explicit", trt, monkeypatch, tmp_path / "e") == 0
    assert (tmp_path / "e").read_bytes() == b"engine"
    assert trt.network.flags == creation
    assert trt.flags == flags
    assert trt.cleared == ["TF32"]
    weights = [layer.name for layer in trt.network.layers if "weight" in layer.name]
    assert any("/DequantizeLinear" in name for name in weights)
    assert any("/QuantizeLinear" in name for name in weights) == version.startswith("8")


@pytest.mark.parametrize(("version", "creation"), [("8.5.1.7", 1), ("10.16.1.11", 0)])
def test_implicit_sets_every_range_and_keeps_layers_in_float(
    bundles, version, creation, monkeypatch, tmp_path
):
    bundle, trt = bundles["float_first"], FakeTensorRt(version)
    assert build(bundle, "implicit", trt, monkeypatch, tmp_path / "e") == 0
    assert trt.network.flags == creation
    assert trt.flags == ["INT8", "OBEY"]
    ranges = json.loads((bundle / "dynamic_ranges.json").read_text())
    made = [layer.get_output(0) for layer in trt.network.layers]
    found = {t.name: list(t.range) for t in [trt.network.source, *made] if t.range}
    unnamed = {name: own for name, own in found.items() if name.startswith("(Unnamed")}
    assert {name: own for name, own in found.items() if name not in unnamed} == ranges
    constants = [own for layer in trt.network.layers if (own := getattr(layer, "_values", None))
                 is not None]  # fmt: skip
    largest = [float(abs(values).max()) for values in constants]
    assert [high for low, high in unnamed.values()] == [
        one for own in largest for one in (own, own)
    ]
    in_float = json.loads((bundle / "float_layers.json").read_text())
    constrained = {layer.name: layer for layer in trt.network.layers if layer.precision}
    assert constrained.keys() == in_float.keys()
    assert [layer.precision for layer in constrained.values()] == ["float32"]
    assert [layer.kinds for layer in constrained.values()] == [{0: "float32"}]


def test_implicit_finds_a_node_that_became_several_layers(copied, monkeypatch, tmp_path):
    graph = onnx.load(copied / "model.fp32.onnx").graph
    gemm = next(node for node in graph.node if node.op_type == "Gemm")
    (copied / "float_layers.json").write_text(json.dumps({gemm.name: list(gemm.output)}))
    trt = FakeTensorRt("8.5.1.7")
    assert build(copied, "implicit", trt, monkeypatch, tmp_path / "e") == 0
    found = [layer.name for layer in trt.network.layers if layer.precision == "float32"]
    assert found == [gemm.name, f"{gemm.name}_sum"]


def test_without_float_layers_nothing_is_constrained(bundles, monkeypatch, tmp_path):
    trt = FakeTensorRt("8.5.1.7")
    assert build(bundles["all"], "implicit", trt, monkeypatch, tmp_path / "e") == 0
    assert trt.flags == ["INT8"]
    assert not any(layer.precision for layer in trt.network.layers)


@pytest.mark.parametrize(
    ("mode", "trt", "said"),
    [
        ("implicit", FakeTensorRt("11.4.0.106"), "takes no ranges. Use explicit instead"),
        ("explicit", FakeTensorRt("10.3.0", parses=False), "cannot parse model.qdq.onnx (no such"),
        ("explicit", FakeTensorRt("10.3.0", builds=False), "built no engine"),
        ("explicit", None, "TensorRT is not here"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    bundles, mode, trt, said, monkeypatch, tmp_path, capsys
):
    assert build(bundles["all"], mode, trt, monkeypatch, tmp_path / "e") in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "e").exists()


def test_a_place_that_cannot_be_written_is_told_in_one_line(bundles, monkeypatch, tmp_path, capsys):
    trt = FakeTensorRt("10.3.0")
    assert build(bundles["all"], "explicit", trt, monkeypatch, tmp_path / "no" / "e") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
