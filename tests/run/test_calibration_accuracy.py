"""Accuracy on calibration images: all of them, or until a loss is proven."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.cli.compose import build_typed
from bench.run.calibration_accuracy import Accuracy, measure_on, on_calibration_images
from bench.run.measure import int8_model
from bench.run.ranges import find_run_ranges, quantize
from bench.run.spec import Run

WORDS = [
    "model=resnet18", "dataset.validation_images=8", "dataset.calibration_images=48",
    "calibration.size=8", "timing=off",
]  # fmt: skip


def measured(run: Run, most_loss: float) -> Accuracy:
    ranges = find_run_ranges(run)
    return measure_on(run, int8_model(run, ranges, quantize(run, ranges)), most_loss)


@pytest.mark.parametrize(
    ("calibrator", "most_loss", "images"),
    [
        (["calibrator=percentile", "calibrator.percentile=50"], 0.01, 20),
        (["calibrator=percentile", "calibrator.percentile=50"], math.inf, 40),
        (["calibrator=minmax"], 0.01, 40),
    ],
)
def test_an_evaluation_ends_once_the_loss_is_proven_to_be_too_large(
    calibrator: list[str], most_loss: float, images: int, tmp_path: Path
):
    typed = build_typed([*WORDS, *calibrator, f"sweep.cache={tmp_path}"])
    run = on_calibration_images(typed, 40, "a test")
    accuracy = measured(run, most_loss)
    assert accuracy.images == images
    assert accuracy.difference.estimate == pytest.approx(accuracy.int8 - accuracy.fp32)
    lost = -accuracy.difference.high > 0.01 * accuracy.fp32
    assert lost == ("percentile" in run.calibrator.name)
