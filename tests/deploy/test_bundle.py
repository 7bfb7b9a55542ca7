"""A bundle: what is in it, that the row is in it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bench.calibration.trt_cache import from_json, parse
from bench.cli.compose import build_typed
from bench.deploy import figure
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.trt.rtx import CAPABILITIES
from bench.report.summary import summarize
from bench.results.table import make_table
from tests.deploy.refusal import refused
from tests.e2e.command import Bench

pytestmark = pytest.mark.e2e

CONTENT = {
    "README.md", "SHA256SUMS", "build_engine.py", "bundle.json", "calibration.cache",
    "calibration_images.txt", "dynamic_ranges.json", "float_layers.json", "layer_precisions.txt",
    "model.fp32.onnx", "model.qdq.onnx", "model.qdq.tensorrt8.onnx", "samples/batch-0.bin",
    "samples/batch-1.bin", "samples/batch-2.bin", "samples/batch-3.bin", "samples/outputs.npz",
    "verify.py",
}  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_bundle_holds_what_it_says_with_checksums(bundles):
    content = files(bundles["all"])
    assert set(content) == CONTENT
    lines = content["SHA256SUMS"].decode().splitlines()
    sums = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    assert set(sums) == CONTENT - {"SHA256SUMS"}
    assert all(hashlib.sha256(content[name]).hexdigest() == sums[name] for name in sums)


def test_the_same_row_gives_the_same_bytes(bundles, swept, rows, deploy, tmp_path):
    assert deploy(swept.out, "--run", rows["all"].run_key, "--to", tmp_path / "b").status == 0
    assert files(tmp_path / "b") == files(bundles["all"])


def test_without_a_key_it_is_the_row_that_the_report_recommends(swept, rows, deploy):
    said = deploy(swept.out)
    best = summarize(make_table(list(rows.values()))).answers[0].best.run_key
    assert said.status == 0, said.err
    assert str(swept.out / f"bundle-{best}") in said.out
    facts = json.loads((swept.out / f"bundle-{best}" / "bundle.json").read_text())
    assert facts["row"]["run_key"] == best


def test_the_qdq_file_has_the_scales_that_the_sweep_kept(bundles, swept, rows):
    for plan, row in rows.items():
        kept = from_json((swept.out / "ranges" / f"{row.run_key}.json").read_bytes(), "")
        proto = onnx.load(bundles[plan] / "model.qdq.onnx")
        weights = {tensor.name: tensor for tensor in proto.graph.initializer}
        found = {
            node.input[0]: float(numpy_helper.to_array(weights[node.input[1]]))
            for node in proto.graph.node
            if node.op_type == "QuantizeLinear"
        }
        assert found == {name: float(np.float32(amax / 127)) for name, amax in kept.items()}
        assert proto.ByteSize() == row.qdq_bytes


def test_tensorrt_8_gets_the_same_network_without_int8_constants(bundles):
    ours, theirs = (
        onnx.load(bundles["all"] / f"model.qdq{line}.onnx") for line in ("", ".tensorrt8")
    )
    batch = np.random.default_rng(0).random(
        json.loads((bundles["all"] / "bundle.json").read_text())["input"]["shape"], np.float32
    )
    expected, found = (OnnxRuntime().build_exact(model).run(batch) for model in (ours, theirs))
    np.testing.assert_array_equal(found[0], expected[0])
    stored = map(numpy_helper.to_array, theirs.graph.initializer)
    assert not any(values.any() for values in stored if values.dtype == np.int8)


def test_a_rule_that_looks_after_fusion_leaves_the_same_tensors_out(swept, rows, deploy, tmp_path):
    fused = Bench(tmp_path / "out", swept.cache)
    typed = rows["all"].overrides.replace("calibrator=minmax", "calibrator=entropy").split()
    assert fused(*typed, "placement=implicit", f"sweep.out={fused.out}").status == 0
    assert deploy(fused.out, "--to", tmp_path / "b").status == 0
    (qdq_bytes,) = fused.table["qdq_bytes"]
    assert onnx.load(tmp_path / "b" / "model.qdq.onnx").ByteSize() == qdq_bytes
    everywhere = onnx.load(tmp_path / "b" / "model.fp32.onnx").graph.node
    assert len(json.loads((tmp_path / "b" / "dynamic_ranges.json").read_text())) < len(everywhere)


def test_implicit_quantization_gets_a_range_for_every_activation(bundles, swept, rows):
    """The same calibrator and images, as a run with implicit placement finds them."""
    implicit_so = "placement=implicit_tensorrt10"  # as TensorRT shares ranges, 8.5 to 10
    swept_so = [*rows["all"].overrides.split(), implicit_so, f"sweep.out={swept.out}-i"]
    implicit = Bench(Path(f"{swept.out}-i"), swept.cache)
    assert implicit(*swept_so).status == 0
    (path,) = (implicit.out / "ranges").glob("*.json")
    expected = dict(from_json(path.read_bytes(), ""))
    ranges = dict(from_json((bundles["all"] / "dynamic_ranges.json").read_bytes(), ""))
    assert ranges == expected
    cache = parse((bundles["all"] / "calibration.cache").read_bytes(), "")
    assert cache.header == "TRT-8501-EntropyCalibration2"
    assert cache.amax.keys() == ranges.keys()
    assert all(math.isclose(cache.amax[name], ranges[name], rel_tol=1e-6) for name in ranges)
    tensors = {
        o for n in onnx.load(bundles["all"] / "model.fp32.onnx").graph.node for o in n.output
    }
    assert set(ranges) <= tensors | {"input"}


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        ("explicit_residual", "comes from the\nsame calibrator on the same images with"),
        ("implicit_tensorrt10", "The row was measured with `placement=implicit_tensorrt10`"),
        ("implicit", "Ranges were shared through concatenations as TensorRT 7.1 shared them"),
    ],
)
def test_the_page_says_how_q_dq_was_placed(swept, rows, deploy, tmp_path, placement, said):
    placed = Bench(tmp_path / "out", swept.cache)
    typed = [*rows["all"].overrides.split(), f"placement={placement}", f"sweep.out={placed.out}"]
    assert placed(*typed).status == 0
    assert deploy(placed.out, "--to", tmp_path / "b").status == 0
    assert said in (tmp_path / "b" / "README.md").read_text()
    (path,) = (placed.out / "ranges").glob("*.json")
    measured = from_json(path.read_bytes(), "")
    ranges = from_json((tmp_path / "b" / "dynamic_ranges.json").read_bytes(), "")
    assert (dict(ranges) == dict(measured)) is placement.startswith("implicit")
    assert ranges.keys() >= measured.keys()


def test_float_layers_are_nodes_of_the_fp32_file_and_stand_in_the_command(bundles):
    in_float = json.loads((bundles["float_first"] / "float_layers.json").read_text())
    ((layer, outputs),) = in_float.items()
    nodes = {n.name: n for n in onnx.load(bundles["float_first"] / "model.fp32.onnx").graph.node}
    assert nodes[layer].input[0] == "input"
    assert nodes[layer].output == outputs
    precisions = (bundles["float_first"] / "layer_precisions.txt").read_text()
    assert precisions == f"{layer}:fp32\n"
    constraint = '--precisionConstraints=obey "--layerPrecisions=$(cat layer_precisions.txt)"'
    assert constraint in (bundles["float_first"] / "README.md").read_text()
    assert json.loads((bundles["all"] / "float_layers.json").read_text()) == {}
    assert "layerPrecisions" not in (bundles["all"] / "README.md").read_text()


def test_the_calibration_images_are_named_in_order(bundles, rows):
    run = build_typed(rows["all"].overrides.split())
    names = (bundles["all"] / "calibration_images.txt").read_text().splitlines()
    chosen = run.calibration_order[:4].tolist()
    assert names == [run.dataset.calibration.names[index] for index in chosen]


def test_the_page_says_what_to_expect(bundles, rows):
    row, page = rows["all"], (bundles["all"] / "README.md").read_text()
    for said in (
        f"| {row.fp32:.4f} | {row.int8:.4f} | {row.delta:+.4f} | {row.ci_low:+.4f} to ",
        "Top-1 on 48 images of `shapes`",
        "It was not measured in TensorRT.",
        "The figure above was not measured that way",
        "python verify.py --figure engine=tensorrt",
        "It runs `model.qdq.onnx`; `engine.mode=implicit` (TensorRT 8.5 to 10) measures",
        "Explicit quantization computes what was measured",
        "trtexec --onnx=model.qdq.onnx --stronglyTyped",
        "trtexec --onnx=model.fp32.onnx --int8 --calib=calibration.cache",
        "TRT-8601-EntropyCalibration2",
        "mean 0.5, 0.5, 0.5, std 0.25, 0.25, 0.25",
    ):
        assert said in page
    assert "clips the input" not in page


def test_the_page_of_a_row_of_tensorrt_s_implicit_mode_says_whose_figure_it_is(
    fake_tensorrt, deploy, tmp_path
):
    """On the stand-in of ``tests/fakes``."""
    fake_tensorrt("8.5.1.7")
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    ended = bench(
        "model=resnet18", "dataset.validation_images=16", "dataset.calibration_images=4",
        "engine=tensorrt", "engine.mode=implicit", "placement=implicit",
        "calibrator=tensorrt_minmax", "calibrator.batch_size=2",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    said = deploy(bench.out, "--to", tmp_path / "b")
    assert said.status == 0, said.err
    page = (tmp_path / "b" / "README.md").read_text()
    for words in (
        "measured in tensorrt 8.5.1.7 on NVIDIA Test GPU, driver 550.54:",
        "The row was measured in TensorRT: implicit quantization in 8.5.1.7",
        "Implicit quantization computes what was measured",
        "It runs implicit quantization, as the row did",
    ):
        assert words in page
    for words in ("not measured", "need not equal it", "Explicit quantization computes"):
        assert words not in page
    line, confirmed = figure.measure_figure(tmp_path / "b", [])
    assert confirmed
    assert "Top-1 in tensorrt 8.5.1.7 (int8 kernels) on 16 images" in line


def test_the_commands_of_the_page_measure_tensorrt_s_own_figure(fake_tensorrt, bundles, tmp_path):
    fake_tensorrt("10.16.1.11")
    for mode in ([], ["engine.mode=implicit"]):
        asked = ["engine=tensorrt", *mode, f"engine.cache={tmp_path}"]
        line, confirmed = figure.measure_figure(bundles["all"], asked)
        assert confirmed
        assert "Top-1 in tensorrt 10.16.1.11 (int8 kernels) on 48 images" in line
    assert len(list((tmp_path / "tensorrt").glob("*.engine"))) == 2


def test_a_clipped_input_is_told_with_the_range_that_cuts_nothing(
    rows, sweep_with, deploy, tmp_path
):
    folder = sweep_with(replace(rows["all"], input_amax=1.25))
    assert deploy(folder, "--to", tmp_path / "b").status == 0
    page = (tmp_path / "b" / "README.md").read_text()
    assert "clips the input** at 1.2500" in page
    assert "[-2, 2]" in page


def test_an_engine_is_added_on_request(swept, rows, deploy, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="pip install -e '.[rtx]'")
    options = ["--run", rows["all"].run_key, "--to", tmp_path / "b", "--engine", "SM86"]
    assert deploy(swept.out, *options).status == 0
    assert (tmp_path / "b" / "engine-SM86.plan").stat().st_size > 100_000
    assert "engine-SM86.plan" in (tmp_path / "b" / "SHA256SUMS").read_text()
    assert "| `engine-SM86.plan` |" in (tmp_path / "b" / "README.md").read_text()


def test_nothing_is_overwritten(swept, rows, deploy, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    said = deploy(swept.out, "--run", rows["all"].run_key, "--to", taken)
    refused(said, "taken exists already", "--to FOLDER")
    assert list(taken.iterdir()) == []


def test_the_page_says_what_the_kernels_reached_where_the_figure_is_an_emulation_s(
    rows, sweep_with, deploy, tmp_path
):
    emulated = replace(rows["all"], accuracy_by="exact emulation", kernels_int8=0.25)
    assert deploy(sweep_with(emulated), "--to", tmp_path / "b").status == 0
    page = " ".join((tmp_path / "b" / "README.md").read_text().split())
    assert "accuracy of `model.qdq.onnx` itself, computed exactly in float" in page
    assert "The int8 kernels of onnxruntime reached 0.2500 on that processor" in page


def test_rows_that_cannot_be_deployed_are_refused(rows, sweep_with, deploy, tmp_path):
    row = rows["all"]
    folder = sweep_with(
        replace(row, run_key="a", status="skipped", error="the engine refuses it", int8=None),
        replace(row, run_key="b", int8=None),
        replace(row, run_key="c", scheme="asymmetric"),
        replace(row, run_key="e", status="unfaithful", error="the outputs are 20 dB off. Do that"),
        replace(row, run_key="f", status="raced", error="at least 0.1 worse than mse"),
    )
    for key, words in {
        "a": ("run a was skipped (the engine refuses it)", "Choose one"),
        "b": ("run b has no accuracy", "Choose one"),
        "c": ("scheme=asymmetric", "Choose one with scheme=symmetric"),
        "d": ("has no run d", "run_key"),
        "e": ("run e is unfaithful: the outputs are 20 dB off. Do that", "--run KEY"),
        "f": ("run f lost its race", "at least 0.1 worse than mse", "without sweep.race=true"),
    }.items():
        refused(deploy(folder, "--run", key, "--to", tmp_path / "b"), *words)
    assert not (tmp_path / "b").exists()


def test_several_answers_ask_for_a_choice(rows, sweep_with, deploy):
    other = replace(rows["all"], run_key="other", engine="openvino")
    said = deploy(sweep_with(rows["all"], other))
    refused(said, rows["all"].run_key, "other (resnet18 on shapes, openvino)", "--run KEY")


def test_where_fp32_finds_nothing_no_run_is_chosen(rows, sweep_with, deploy):
    blind = replace(rows["all"], fp32=0.0, int8=0.0, delta=0.0)
    refused(deploy(sweep_with(blind)), "FP32 itself detects nothing (Top-1 0.000)", "--run KEY")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "SM90"], ("SM90", CAPABILITIES[0])),
        (["--colour", "red"], ("unrecognized arguments", "--help")),
    ],
)
def test_bad_options_are_refused(swept, deploy, tmp_path, options, words):
    refused(deploy(swept.out, "--to", tmp_path / "b", *options), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_runs_is_refused(deploy, tmp_path):
    refused(deploy(tmp_path), "holds no finished runs", "results/SWEEP")


def test_a_run_that_is_no_longer_the_same_is_refused(rows, sweep_with, deploy, tmp_path):
    """What was typed then now means something else."""
    row = rows["all"]
    changed = row.overrides.replace("validation_images=48", "validation_images=47")
    upgraded = replace(row, run_key="older", engine_version="0.1")
    folder = sweep_with(replace(row, overrides=changed), upgraded)
    said = deploy(folder, "--run", row.run_key, "--to", tmp_path / "b")
    refused(said, "cannot be made again: the validation images changed since", "sweep again")
    said = deploy(folder, "--run", "older", "--to", tmp_path / "b")
    refused(said, "onnxruntime's version changed since")
    assert not (tmp_path / "b").exists()


def test_a_model_of_ones_own(sketch, swept, deploy, tmp_path):
    """Its nodes' names may be none that trtexec can read, and its file may change."""

    def write(seed: int) -> None:
        g = sketch(seed)
        x = g.conv("images", 3, 8, "stem:0", k=8, strides=[8, 8], pads=[0] * 4)
        onnx.save(g.model(g.classify(g.op("Relu", x), 8, 10), size=(64, 64)), tmp_path / "m.onnx")

    write(1)
    own = Bench(tmp_path / "out", swept.cache)
    ended = own(
        "model=custom", f"model.path={tmp_path / 'm.onnx'}", "model.head=classifier",
        "model.preprocess.fit=stretch", "dataset.validation_images=8", "calibration.size=2",
        "dataset.calibration_images=2", "engine=onnxruntime", "plan=float_first",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert deploy(own.out, "--to", tmp_path / "b").status == 0
    assert list(json.loads((tmp_path / "b" / "float_layers.json").read_text())) == ["stem:0"]
    assert "have a comma or colon in their names" in (tmp_path / "b" / "README.md").read_text()
    write(2)
    refused(deploy(own.out, "--to", tmp_path / "c"), "the model's file changed since")


def test_a_failure_on_the_way_leaves_nothing(swept, rows, deploy, tmp_path, monkeypatch):
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("bench.deploy.bundle.hash_file", full)
    said = deploy(swept.out, "--run", rows["all"].run_key, "--to", tmp_path / "b")
    refused(said, "No space left")
    assert list(tmp_path.iterdir()) == []
