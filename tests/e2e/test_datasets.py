"""Calibration sets and images without labels, from the command line to the row."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image as Pil

from bench.cli.compose import build_run
from bench.data.shapes_dataset import ShapesDataset
from bench.evaluation.task import ClassificationTask
from bench.model.zoo import CARRIED
from bench.results.error_analysis import LossStore
from bench.results.table import read_table
from bench.run.error_analysis import _keep_picture
from bench.run.measure import task_of, validation_images
from tests.composing import composed
from tests.e2e.command import Bench

CLASSIFIER = ["model=custom", "model.head=classifier", "model.path=FILES/two_classes.onnx"]
FOLDER = ["dataset=imagefolder", "dataset.root=FILES/folder/val"]
APART = "dataset.calibration_root=FILES/folder/calib"
IMAGES = ["dataset=images", "dataset.root=FILES/folder/val", APART, "dataset.classes=2"]


def test_without_labels_a_classifier_is_compared_with_its_fp32_self(bench: Bench) -> None:
    assert bench(*CLASSIFIER, *IMAGES, report=True).status == 0
    (row,) = (row for _, row in bench.table.iterrows())
    assert (row["metric"], row["secondary_metric"]) == ("agreement Top-1", "agreement Top-5")
    assert row["fp32"] == 1
    assert row["classes_evaluated"] is None  # nobody says which there are
    assert row["delta"] == row["int8"] - 1
    assert "says nothing about accuracy" in (bench.out / "report.html").read_text()


@pytest.mark.slow
def test_without_labels_a_detector_is_compared_with_its_fp32_self(
    bench: Bench, tmp_path: Path
) -> None:
    """On scenes of the embedded dataset, whose labels nobody reads."""
    scenes = ShapesDataset("detection", 6, 4)
    for samples in (scenes.validation, scenes.calibration):
        for index, name in enumerate(samples.names):
            path = tmp_path / samples.split / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Pil.fromarray(samples.image(index)).save(path)
    model = ["model=yolov8n", f"model.path={CARRIED}/yolov8n_shapes.onnx"]
    images = [
        "dataset=images", "dataset.classes=10", f"dataset.root={tmp_path}/validation",
        f"dataset.calibration_root={tmp_path}/calibration",
    ]  # fmt: skip
    ended = bench("--multirun", *model, *images, "evaluation.agreement_score=0.25,0.9")
    assert ended.status == 0, ended.err
    assert set(bench.table["metric"]) == {"agreement mAP50-95"}
    assert (bench.table["fp32"] > 0.99).all()
    assert bench.table["int8"].nunique() == 2  # another truth, another score


def test_calibration_images_that_are_evaluated_are_told_of(bench: Bench) -> None:
    same = "dataset.calibration_root=FILES/folder/val"
    chosen = [*CLASSIFIER, *FOLDER, same, "dataset.name=again", "calibration.size=2,4"]
    ended = bench("--multirun", *chosen, report=True)
    assert ended.status == 0, ended.err
    assert ended.err.count("calibration images are also evaluated (2 of 2)") == 1
    assert ended.err.count("warning:") == 1
    assert sorted(bench.table["calibration_overlap"]) == [2, 4]
    told = "was calibrated on images that are also evaluated"
    assert told in (bench.out / "report.html").read_text()


def test_sets_apart_are_not(bench: Bench) -> None:
    ended = bench(*CLASSIFIER, *FOLDER, APART)
    assert "warning" not in ended.err
    assert bench.table["calibration_overlap"].tolist() == [0]


def test_a_sample_of_class_folders_that_lacks_classes_is_told_of(bench: Bench) -> None:
    some = ["evaluation.images=1", "calibration.size=2,4"]
    ended = bench("--multirun", *CLASSIFIER, *FOLDER, APART, *some)
    assert ended.status == 0, ended.err
    assert ended.err.count("evaluation.images=1 draws images of 1 of 2 classes") == 1
    assert bench.table["classes_evaluated"].tolist() == [1, 1]
    assert bench.table["n_classes"].tolist() == [2, 2]


def test_a_sample_that_shows_every_class_is_not(bench: Bench) -> None:
    ended = bench(*CLASSIFIER, *FOLDER, APART, "evaluation.images=5")
    assert "warning" not in ended.err
    (row,) = (row for _, row in bench.table.iterrows())
    assert (row["n_images"], row["classes_evaluated"], row["n_classes"]) == (5, 2, 2)


def test_a_sample_of_a_detectors_images_that_lacks_classes_is_told_of(bench: Bench) -> None:
    """A class counts where it has an object to find: every image has one box."""
    chosen = ["model=custom", "model.head=yolov8", "model.path=FILES/two_class_detector.onnx",
              "dataset=coco", "dataset.images=FILES/coco/val",
              "dataset.annotations=FILES/coco/annotations.json",
              "dataset.calibration_images=FILES/coco/calib"]  # fmt: skip
    ended = bench(*chosen, "evaluation.images=1")
    assert ended.status == 0, ended.err
    assert "evaluation.images=1 draws images of 1 of 2 classes" in ended.err
    assert bench.table["classes_evaluated"].tolist() == [1]
    assert bench(*chosen).err.count("warning") == 0
    assert sorted(bench.table["classes_evaluated"]) == [1, 2]


def test_losses_are_shown_on_the_images_of_the_sample(bench: Bench) -> None:
    """The picture and its boxes belong together: number 0 of a sample is not the first image."""
    given = [o.replace("FILES", str(bench.files)) for o in (*CLASSIFIER, *FOLDER, APART)]
    run = build_run(composed(*given, "evaluation.images=2", f"sweep.cache={bench.cache}"))
    assert run.validation_indices != (0, 1)
    images, samples = validation_images(run), run.dataset.validation
    for row, index in enumerate(run.validation_indices):
        expected, _ = run.model.preprocess.place(samples.image(index))
        np.testing.assert_array_equal(images.pixels[row], expected)
        assert cast(ClassificationTask, task_of(run)).labels[row] == run.dataset.labels[index]
        assert _keep_picture(run, LossStore(bench.out), row).name == Path(samples.names[index]).name


def test_a_list_and_a_strategy_settle_what_calibrates(bench: Bench, tmp_path: Path) -> None:
    listed = tmp_path / "mine.txt"
    listed.write_text("# two\nb/2.png\na/0.png\n")
    chosen = [*CLASSIFIER, *FOLDER, APART, "calibration.size=2"]
    for extra in ("calibration.strategy=random", "calibration.strategy=balanced",
                  f"calibration.list={listed}"):  # fmt: skip
        assert bench(*chosen, extra).status == 0
    table = read_table(bench.out)
    assert sorted(table["calibration_strategy"]) == ["balanced", "list mine.txt", "random"]
    listed.write_text("a/0.png\nb/1.png\n")
    assert bench(*chosen, f"calibration.list={listed}").status == 0
    assert len(bench.rows) == 4  # another list, another run
    assert bench(*chosen, f"calibration.list={listed}", "calibration.size=3").status == 2


@pytest.mark.parametrize("extra", ["calibration.size=2", "calibration.size=4"])
def test_balanced_sets_show_both_classes_alike(extra: str, bench: Bench) -> None:
    given = [o.replace("FILES", str(bench.files)) for o in (*CLASSIFIER, *FOLDER, APART, extra)]
    run = build_run(composed(*given, "calibration.strategy=balanced"))
    used = [run.dataset.calibration.names[i] for i in run.calibration_order[: run.calibration.size]]
    assert sum(name.startswith("a/") for name in used) == run.calibration.size / 2
