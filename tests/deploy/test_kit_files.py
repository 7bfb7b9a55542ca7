"""What a kit holds: a plan's Q/DQ file with the values of its rows, and fitted images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bench.data.preprocess import Preprocess
from bench.deploy.kit.pixels import pack_pixels, write_images
from bench.deploy.kit.plan_files import PlanFile, check, describe, group_rows
from bench.deploy.kit.wire import raw_data_spans
from bench.deploy.runner.files import Kit, unpack_pixels
from bench.deploy.runner.ground import KitError
from bench.engine.trt.float_weights import with_float_weights
from bench.errors import ModelError
from bench.model.edit import copy_of, with_batch
from bench.model.graph import Graph
from bench.model.onnx_model import load_model
from bench.quantization.plan import PrecisionPlan, place
from bench.quantization.qdq import insert_qdq

WEIGHTS = Path(__file__).parents[2] / "bench" / "model" / "weights"
APART = ("explicit", "symmetric", "per_channel max")


def test_spans_are_where_the_values_are() -> None:
    values = [np.float32(3.5), np.arange(300, dtype=np.int8), np.ones((2, 3), np.float32)]
    tensors = [numpy_helper.from_array(np.asarray(v), f"t{i}") for i, v in enumerate(values)]
    tensors.append(helper.make_tensor("in_another_field", 1, [1], [2.0]))
    source = helper.make_tensor_value_info("x", 1, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [source], [], tensors)
    content = helper.make_model(graph).SerializeToString()

    spans = raw_data_spans(content)

    assert set(spans) == {"t0", "t1", "t2"}
    for index, own in enumerate(values):
        start, size = spans[f"t{index}"]
        assert content[start : start + size] == np.asarray(own).tobytes()


@pytest.mark.parametrize("content", [b"\x3a\xff\x01abc", b"\x3f", b"\x3a\x03\x2a\x05a", b"\x80"])
def test_other_bytes_are_no_model(content: bytes) -> None:
    with pytest.raises(ModelError, match="no serialized ONNX model"):
        raw_data_spans(content)


def quantized(network: Any, seed: int, plan: PrecisionPlan | None = None) -> onnx.ModelProto:
    """A Q/DQ file with ranges of chance."""
    graph, rng = Graph(network), np.random.default_rng(seed)
    points = place(plan or PrecisionPlan("all"), "explicit", graph)
    ranges = {name: float(rng.uniform(0.5, 8)) for name in points.tensors}
    return with_batch(insert_qdq(network, graph, points, ranges), network.input_name, 1)


def packed(rows: dict[str, onnx.ModelProto], folder: Path) -> Kit:
    """A kit of these Q/DQ files, as far as its models go."""
    folder.mkdir(exist_ok=True)
    facts: dict[str, Any] = {"kit": 1, "id": "test", "files": {}, "plans": {}, "rows": {}}

    def add(name: str, content: bytes) -> str:
        (folder / name).write_bytes(content)
        facts["files"][name] = {"sha256": sha256(content).hexdigest()}
        return name

    asked = [(key, APART, lambda own=model: own) for key, model in rows.items()]
    for number, (base, sums) in enumerate(group_rows(asked)):
        described, skeleton = describe(base)
        check(base, {**described, "packed": skeleton}, sums)
        name = add(f"{number}.onnx", base.content)
        facts["plans"][name] = {**described, "skeleton": add(f"{number}.skeleton", skeleton)}
        for key in base.differences:
            values = add(f"{key}.values", base.values(key))
            facts["rows"][key] = {"plan_file": name, "values": values, "sha256": sums[key]}
    (folder / "kit.json").write_text(json.dumps(facts))
    return Kit(folder)


def test_a_target_makes_the_very_files_of_every_row(
    tiny_name: str, tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    rows = {f"row{seed}": quantized(tiny(tiny_name), seed) for seed in range(3)}

    kit = packed(rows, tmp_path / "kit")

    assert len(kit.facts["plans"]) == 1
    for key, model in rows.items():
        assert kit.row_model(key, "int8") == model.SerializeToString(deterministic=True)
        as_float = with_float_weights(model).SerializeToString(deterministic=True)
        assert kit.row_model(key, "float") == as_float


def test_weights_of_a_nearly_dead_channel_are_values_of_a_row(
    tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    """Its weights take a coarser step where the bias would leave int32, which the activation's
    scale decides."""
    network = tiny("residual")
    proto = copy_of(network.proto)
    weight = next(t for t in proto.graph.initializer if t.name == "block1.w")
    values = numpy_helper.to_array(weight).copy()
    values[0] *= 1e-7
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    dead = replace(network, proto=proto)
    rows = {f"row{seed}": quantized(dead, seed) for seed in range(2)}

    kit = packed(rows, tmp_path / "kit")

    (plan,) = kit.facts["plans"].values()
    assert any(offset == -1 for offset, _ in plan["float"])  # INT8 weights, absent in that form
    for key, model in rows.items():
        as_float = with_float_weights(model).SerializeToString(deterministic=True)
        assert kit.row_model(key, "int8") == model.SerializeToString(deterministic=True)
        assert kit.row_model(key, "float") == as_float


def test_other_layers_are_another_file(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    network = tiny("residual")
    first = PrecisionPlan("float_first", ("first",))
    rows = {"all": quantized(network, 0), "first": quantized(network, 0, first)}

    kit = packed(rows, tmp_path / "kit")

    assert len(kit.facts["plans"]) == 2
    assert kit.row_model("first", "int8") == rows["first"].SerializeToString(deterministic=True)


def test_a_file_that_changed_on_the_way_is_told(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    kit = packed({"row": quantized(tiny("residual"), 0)}, tmp_path / "kit")
    values = tmp_path / "kit" / "row.values"
    values.write_bytes(values.read_bytes() + b"\0")

    with pytest.raises(KitError, match=r"row\.values is not the file that was packed"):
        kit.row_model("row", "int8")


@pytest.mark.slow
def test_24_rows_take_less_than_three_times_the_model(tmp_path: Path) -> None:
    """Of the embedded YOLOv8n, with three plans; measured: 1.9 times."""
    network = load_model(WEIGHTS / "yolov8n_shapes.onnx")
    plans = [
        PrecisionPlan("all"),
        PrecisionPlan("float_first", ("first",)),
        PrecisionPlan("float_head", ("head",)),
    ]
    rows = {
        f"{plan.name}{seed}": quantized(network, seed, plan) for plan in plans for seed in range(8)
    }

    packed(rows, tmp_path / "kit")

    files = [path.stat().st_size for path in (tmp_path / "kit").iterdir()]
    model = (WEIGHTS / "yolov8n_shapes.onnx").stat().st_size
    assert len(rows) == 24
    assert sum(files) + network.proto.ByteSize() < 2.2 * model


def test_pixels_survive() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (24, 40, 3), np.uint8)
    smooth = np.add.outer(np.arange(24), np.arange(40))[..., None] + np.array([0, 90, 200])
    for pixels in (noise, smooth.astype(np.uint8), np.zeros((24, 40, 3), np.uint8)):
        assert np.array_equal(unpack_pixels(pack_pixels(pixels), (24, 40)), pixels)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_the_input_there_is_the_input_here(color: Any, tmp_path: Path) -> None:
    """Pixel for pixel, whatever mean and colour order; behind the last image copies of it."""
    preprocess = Preprocess((16, 24), color=color, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    pixels = np.random.default_rng(1).integers(0, 256, (3, 16, 24, 3), np.uint8)
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 1, 256, 3)
    lookup = replace(preprocess, color="rgb").normalise(ramp)[0, :, 0, :]
    facts = {
        "kit": 1,
        "id": "test",
        "files": {},
        "input": {
            "shape": [2, 3, 16, 24],
            "channels": [0, 1, 2] if color == "rgb" else [2, 1, 0],
            "lookup": lookup.astype(float).tolist(),
        },
        "images": {"evaluation": {"pixels": write_images(tmp_path, "evaluation", pixels)}},
    }
    (tmp_path / "kit.json").write_text(json.dumps(facts))

    batches = [batch for _, batch in Kit(tmp_path).images("evaluation").batches(2)]

    expected = preprocess.normalise(pixels)
    assert np.array_equal(batches[0], expected[:2])
    assert np.array_equal(batches[1], np.stack([expected[2], expected[2]]))


def test_a_damaged_image_is_told(tmp_path: Path) -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    listed = write_images(tmp_path, "evaluation", pixels)
    file = tmp_path / listed[0]["file"]
    file.write_bytes(file.read_bytes()[:-1])
    facts = {
        "kit": 1, "id": "test", "files": {},
        "input": {"shape": [1, 3, 8, 8], "channels": [0, 1, 2], "lookup": [[0.0] * 256] * 3},
        "images": {"evaluation": {"pixels": listed}},
    }  # fmt: skip
    (tmp_path / "kit.json").write_text(json.dumps(facts))

    with pytest.raises(KitError, match="damaged"):
        Kit(tmp_path).images("evaluation").pixels(0)


def test_a_plan_file_without_differences_has_no_values() -> None:
    base = PlanFile(b"")
    base.differences["row"] = {}
    assert (base.varying, base.values("row")) == ([], b"")
