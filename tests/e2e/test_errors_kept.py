"""What a run keeps beside its row: where it loses, on which pictures, at which threshold."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image as Pil

from bench.results.error_analysis import LossStore
from tests.e2e.command import CUSTOM, Bench

pytestmark = pytest.mark.e2e


def test_a_detector_keeps_its_losses(bench: Bench) -> None:
    images = 16
    ended = bench(
        "model=yolov8n", f"dataset.validation_images={images}", "dataset.calibration_images=4",
        "calibrator=entropy2", "plan=all", report=True,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    ((key, row),) = bench.table.iterrows()
    losses = LossStore(bench.out).load(str(key))
    assert [size.name for size in losses.sizes] == ["small", "medium", "large"]
    assert sum(part.count for part in losses.classes) == sum(part.count for part in losses.sizes)
    mean = sum(part.int8 for part in losses.classes) / len(losses.classes)
    assert mean == pytest.approx(row["int8"])
    assert losses.threshold == pytest.approx(row["f1_threshold_fp32"])
    assert row["f1_int8_at_fp32_threshold"] <= row["f1_int8"] < row["f1_fp32"]
    assert row["f1_threshold_loss_ci_low"] <= row["f1_threshold_loss_ci_high"]
    assert 0 < losses.worse <= images - losses.better
    assert 0 < len(losses.examples) <= 4
    for example in losses.examples:
        picture = LossStore(bench.out).picture(example.picture)
        assert picture is not None
        assert len(picture) < 30_000
        assert Pil.open(io.BytesIO(picture)).size == (example.width, example.height)
        mistakes = [
            sum(box.kind != "right" for box in view.boxes) for view in (example.fp32, example.int8)
        ]
        assert mistakes[0] < mistakes[1]
    page = (bench.out / "report.html").read_text()
    assert f"picture-{losses.examples[0].picture}" in page


def test_a_classifier_keeps_its_losses(bench: Bench) -> None:
    ended = bench(
        "model=resnet18", "dataset.validation_images=60", "dataset.calibration_images=4",
        "calibrator=entropy2", "plan=all", "calibration.seed=0",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    ((key, row),) = bench.table.iterrows()
    losses = LossStore(bench.out).load(str(key))
    assert losses.unit == "image"
    assert losses.sizes == ()
    assert sum(part.count for part in losses.classes) == 60
    right = sum(part.count * part.int8 for part in losses.classes)
    assert right / 60 == pytest.approx(row["int8"])
    assert losses.better - losses.worse == pytest.approx(60 * row["delta"])
    assert len(losses.examples) == min(losses.worse, 4)
    assert json.loads(next(iter(bench.rows)).read_text())["row"]["f1_fp32"] is None


def test_only_implicit_placement_gives_outputs_a_range(bench: Bench) -> None:
    ended = bench(
        "--multirun", *CUSTOM, "calibrator=minmax",
        "placement=explicit,explicit_residual,implicit,implicit_tensorrt10",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    shares = bench.table.set_index("placement")["output_amax_share"]
    assert shares[["explicit", "explicit_residual"]].isna().all()
    assert shares["implicit"] == pytest.approx(1, abs=0.01)
    assert shares["implicit_tensorrt10"] == pytest.approx(1, abs=0.01)
