"""The drawn dataset as files: what ``dataset=yolo`` reads from them is what ``shapes`` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.cli.compose import build_run
from bench.data.shapes_dataset import ShapeSamples, ShapesDataset
from bench.data.yolo import YoloDataset
from bench.model.zoo import CARRIED
from bench.run.measure import baseline_of, validation_images
from scripts.export_shapes import main
from tests.composing import composed

COUNTS = ("--validation-images", "12", "--calibration-images", "5")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "new" / "shapes"
    assert main([str(folder), *COUNTS]) == 0
    return folder / "data.yaml"


def test_the_files_say_what_the_generator_drew(exported: Path) -> None:
    drawn, read = ShapesDataset("detection", 12, 5), YoloDataset("detection", str(exported))
    assert read.class_names == drawn.class_names
    for ours, files in ((drawn.validation, read.validation), (drawn.calibration, read.calibration)):
        assert [Path(name).stem for name in files.names] == list(ours.names)
        for index in range(len(ours)):
            np.testing.assert_array_equal(files.image(index), ours.image(index))
    for target, truth in zip(drawn.boxes, read.boxes, strict=True):
        np.testing.assert_array_equal(truth.labels, target.labels)
        np.testing.assert_allclose(truth.boxes, target.boxes, atol=1e-4)
        np.testing.assert_allclose(truth.areas, target.areas, rtol=1e-5)
    assert read.calibration_classes() == drawn.calibration_classes()


def test_the_same_map_from_the_files(exported: Path, tmp_path: Path) -> None:
    given = ["model=yolov8n", f"sweep.cache={tmp_path}"]
    counts = ["dataset.validation_images=12", "dataset.calibration_images=5"]
    weights = f"model.path={CARRIED / 'yolov8n_shapes.onnx'}"
    scores = []
    for dataset in (
        ["dataset=shapes", *counts],
        ["dataset=yolo", f"dataset.file={exported}", weights],
    ):
        run = build_run(composed(*given, *dataset))
        scores.append(baseline_of(run, validation_images(run))[1].value)
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert scores[0] > 0.5


def test_what_is_there_is_left_alone(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = exported.read_bytes()
    assert main([str(exported.parent), *COUNTS]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {exported.parent} is there already. Remove it or name another folder"
    ]
    assert exported.read_bytes() == before
    assert main([str(exported), *COUNTS]) == 2  # a file
    assert main([str(tmp_path), "--validation-images", "0"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = ShapeSamples.scene

    def fail_late(self: ShapeSamples, index: int):
        if index == 3:
            raise OSError("No space left on device")
        return draw(self, index)

    monkeypatch.setattr(ShapeSamples, "scene", fail_late)
    assert main([str(tmp_path / "shapes"), *COUNTS]) == 2
    assert not list(tmp_path.iterdir())
