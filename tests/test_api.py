"""What the command line does, from Python."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import bench
from bench.api import calibrate, draw_report, evaluate, quantize, run_once, sweep
from bench.calibration import image_pass
from bench.cli.words import words_of
from bench.errors import BenchError, ConfigError, DataError
from tests.docs.fences import ROOT, fences
from tests.e2e.command import probed_once

TINY = {"model.head": "classifier", "model.preprocess.fit": "stretch"}
SHAPES = ("dataset=shapes", "dataset.validation_images=12", "dataset.calibration_images=8")
SHORT = {"timing": "off", "confirm.seeds": 0, "confirm.roundings": 0, "calibration.size": 4}


@pytest.fixture(scope="module", autouse=True)
def one_probe(probes: Path) -> Iterator[None]:
    with probed_once(probes):
        yield


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every pass that is made."""
    made: list[int] = []
    add = image_pass.ImagePass.add

    def count(self, share, *rest):
        made.append(len(share))
        add(self, share, *rest)

    monkeypatch.setattr(image_pass.ImagePass, "add", count)
    return made


def pictures(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(count)]


def test_import_bench_is_light():
    code = "import bench, sys; print(sorted(m for m in sys.modules if m[:6] == 'bench.' or m in "
    code += "('numpy', 'hydra', 'pandas'))); from bench import quantize; print(quantize.__module__)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.split() == ["[]", "bench.api"]


def test_names_are_those_of_the_module():
    assert {getattr(bench, name).__name__ for name in bench.__all__} == set(bench.__all__)
    assert set(bench.__all__) <= set(dir(bench))
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = bench.quantise  # type: ignore[attr-defined]


def test_one_pass_serves_several_calibrators(files, tmp_path, passes):
    own = {**TINY, "sweep.cache": tmp_path / "cache"}
    with calibrate(files / "classifier.onnx", pictures(), own) as calibration:
        quantized = [quantize(calibration, name) for name in ("minmax", "entropy2", "mse")]
    assert calibration.size == 3
    assert passes == [3]
    assert len({tuple(one.ranges.values()) for one in quantized}) > 1
    assert all(one.ranges["images"] > 0 for one in quantized)


def test_the_file_holds_the_ranges(files, tmp_path):
    calibration = calibrate(files / "classifier.onnx", pictures(), TINY)
    quantized = quantize(calibration, "percentile_99.9")
    path = quantized.save(tmp_path / "deep" / "out.onnx")
    model = onnx.load(path)
    [scale] = [
        onnx.numpy_helper.to_array(weight)
        for weight in model.graph.initializer
        if weight.name.startswith("images") and weight.name.endswith("scale")
    ]
    assert float(scale) == pytest.approx(quantized.ranges["images"] / 127)


def test_pictures_and_their_files_are_calibrated_alike(files, tmp_path):
    for index, picture in enumerate(pictures()):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture[..., ::-1])
    of_files = quantize(calibrate(str(files / "classifier.onnx"), tmp_path, TINY))
    given = quantize(calibrate(str(files / "classifier.onnx"), pictures(), TINY))
    assert of_files.ranges == given.ranges


def test_schemes_and_plans_change_the_ranges(files):
    calibration = calibrate(files / "classifier.onnx", pictures(), TINY)
    asymmetric = quantize(calibration, "minmax", "all", "scheme=asymmetric")
    assert all(isinstance(pair, tuple) for pair in asymmetric.ranges.values())
    fewer = quantize(calibration, plan="float_first")
    assert "images" not in fewer.ranges


def test_evaluates_both_models(files):
    calibration = calibrate(files / "classifier.onnx", pictures(), TINY)
    found = evaluate(quantize(calibration), *SHAPES)
    assert found.metric == "Top-1" and found.n_images == 12
    assert found.delta.estimate == pytest.approx(found.int8.estimate - found.fp32.estimate)
    for own in (found.fp32, found.int8, found.delta):
        assert own.low <= own.estimate <= own.high


def test_a_run_and_its_row(files, tmp_path):
    words = ("model=custom", *SHAPES, {"model.path": files / "classifier.onnx"}, TINY, SHORT)
    row = run_once(*words, {"sweep.out": tmp_path / "a, b"})
    assert row.status == "ok" and row.calibrator == "minmax" and row.calibration_size == 4
    evaluated = evaluate(
        quantize(calibrate(files / "classifier.onnx", None, *SHAPES, TINY, "calibration.size=4"))
    )
    assert evaluated.int8.estimate == row.int8


def test_sweeps_and_draws_again(files, tmp_path, capsys):
    words = ("model=custom", *SHAPES, {"model.path": files / "classifier.onnx"}, TINY, SHORT)
    out = tmp_path / "out"
    table = sweep("calibrator=minmax,mse", *words, {"sweep.out": out})
    assert sorted(table["calibrator"]) == ["minmax", "mse"]
    assert capsys.readouterr().out == ""
    (out / "report.html").unlink()
    assert draw_report(out, max_loss="5%") == out / "report.html"
    assert (out / "report.html").is_file()


def test_words_of_mappings_are_taken_as_they_are():
    given = {"a": "x y", "b": None, "c": [0.5, "é,"], "d": True, "e": Path("it's"), "f": "true"}
    assert words_of([given]) == [
        "a='x y'", "b=null", "c=[0.5,'é,']", "d=true", "e='it\\'s'", "f='true'"
    ]  # fmt: skip
    for wrong in ({"a": {1}}, {"a": float("nan")}, 3, "--cfg", "word"):
        with pytest.raises(ConfigError):
            words_of([wrong])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f: calibrate(f / "none.onnx", pictures(), TINY), "does not exist"),
        (lambda f: calibrate("no_such_model"), "model=no_such_model is unknown"),
        (lambda f: calibrate(f / "classifier.onnx", [], TINY), "no calibration images"),
        (
            lambda f: calibrate(f / "classifier.onnx", [np.zeros((4, 4, 3))], TINY),
            "image 0 is float64 4x4x3, not uint8 HEIGHTxWIDTHx3",
        ),
        (
            lambda f: calibrate(f / "classifier.onnx", pictures(), TINY, "calibration.size=9"),
            "more than the 3 calibration images",
        ),
        (lambda f: quantize(_calibrated(f), "minmux"), "calibrator=minmux is unknown"),
        (lambda f: quantize(_calibrated(f), "tensorrt_minmax"), "needs more than statistics"),
        (
            lambda f: quantize(_calibrated(f), "minmax", "all", "calibration.size=9"),
            "Give it to calibrate",
        ),
        (lambda f: evaluate(quantize(_calibrated(f))), "no labelled images are given"),
        (
            lambda f: evaluate(quantize(_calibrated(f)), *SHAPES, "engine=tensorrt_rtx"),
            "only builds",
        ),
        (lambda f: run_once("calibration.sise=3"), "Did you mean calibration.size"),
        (lambda f: sweep("calibrator=minmax,minmux"), "minmux"),
        (lambda f: sweep("model=yolov8n,resnet18"), "Add sweep.out=FOLDER"),
        (lambda f: sweep("model=custom", "model.path=a.onnx,b.onnx"), "Add sweep.out=FOLDER"),
        (lambda f: draw_report(f / "nowhere"), "does not exist"),
    ],
)
def test_what_the_caller_can_fix_is_one_line(files, call, said):
    with pytest.raises(BenchError, match=re.escape(said)) as caught:
        call(files)
    assert "\n" not in str(caught.value)


def test_balanced_needs_labels(files):
    with pytest.raises(ConfigError, match="needs labels"):
        calibrate(files / "classifier.onnx", pictures(), TINY, "calibration.strategy=balanced")
    with pytest.raises(DataError, match="does not exist"):
        calibrate(files / "classifier.onnx", "no/such/folder", TINY)


def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = fences((ROOT / "docs" / "reference" / "api.md").read_text())
    [example, shown] = [text for kind, text in blocks if kind in ("python", "text")][:2]
    assert len(example.strip().splitlines()) <= 15
    exec(compile(example, "api.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == [
        line.split(":")[0] for line in shown.splitlines()
    ]
    assert len(list((tmp_path / "quantized").glob("*.onnx"))) == 3
    assert float(printed[1].split()[4].rstrip(",")) < float(printed[0].split()[4].rstrip(","))


def _calibrated(files: Path) -> bench.api.Calibration:
    return calibrate(files / "classifier.onnx", pictures(), TINY)
