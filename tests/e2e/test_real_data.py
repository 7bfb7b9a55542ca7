"""A model and images of the world, where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import ROOT, Bench

SHARED = ROOT.parent / "shared"
MODEL = SHARED / "models" / "resnet20_cifar10.onnx"
IMAGES = SHARED / "data" / "cifar10_mini"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real_data,
    pytest.mark.skipif(
        not (MODEL.is_file() and IMAGES.is_dir()), reason=f"{MODEL} and {IMAGES} are not there"
    ),
]


@pytest.mark.slow
def test_resnet20_on_cifar10_loses_next_to_nothing(tmp_path: Path) -> None:
    """Top-1 0.823 in FP32 on these 2,000 images, and within half a point of it in INT8."""
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    ended = bench(
        "--multirun", "model=custom", f"model.path={MODEL}", "model.head=classifier",
        "dataset=imagefolder", f"dataset.root={IMAGES}/val",
        f"dataset.calibration_root={IMAGES}/calib", "calibrator=entropy2", "calibration.size=64",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert f"resnet20_cifar10: weights file {MODEL}" in ended.err
    (row,) = (row for _, row in bench.table.iterrows())
    assert row["n_images"] == len(list((IMAGES / "val").rglob("*.*")))
    assert row["fp32"] == pytest.approx(0.823, abs=0.003)
    assert abs(row["delta"]) <= 0.007
    assert row["ci_low"] <= row["delta"] <= row["ci_high"]
    assert row["int8_mac_share"] > 0.9
    assert row["sqnr_db"] > 20
