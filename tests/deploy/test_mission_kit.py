"""``scripts/mission_kit.sh``: one command from a model and images to a kit, on the stand-in."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench.data.shapes_dataset import ShapesDataset
from bench.deploy.merge.__main__ import main as merge_main
from bench.model.zoo import CARRIED
from bench.results.store import RowStore
from tests.deploy.kit_commands import QUICK, on_stand_in, run_there, said_by
from tests.e2e.command import ROOT, WITHOUT_REPORT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCRIPT = ROOT / "scripts" / "mission_kit.sh"
NATIVE = ("minmax", "entropy2", "entropy")


def write_coco(folder: Path, count: int) -> list[str]:
    """Drawn scenes as COCO: the script's arguments after the model."""
    drawn = ShapesDataset("detection", count, count)
    for name, samples in (("val", drawn.validation), ("calib", drawn.calibration)):
        (folder / name).mkdir()
        for index in range(count):
            Image.fromarray(samples.image(index)).save(folder / name / f"{index}.png")
    assert drawn.boxes is not None
    boxes = [
        {"image_id": image, "category_id": int(label), "bbox": [x0, y0, x1 - x0, y1 - y0],
         "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
        for image in range(count)
        for label, (x0, y0, x1, y1) in zip(
            drawn.boxes[image].labels.tolist(), drawn.boxes[image].boxes.tolist(), strict=True
        )
    ]  # fmt: skip
    annotations = {
        "images": [{"id": image, "file_name": f"{image}.png"} for image in range(count)],
        "annotations": [{"id": number, **box} for number, box in enumerate(boxes)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(drawn.class_names)],
    }
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return [str(folder / name) for name in ("val", "annotations.json", "calib")]


def without_report(folder: Path) -> Path:
    """A Python whose ``-m bench`` draws no report: three of them would take most of the time."""
    path = folder / "python"
    code = shlex.quote(WITHOUT_REPORT)
    path.write_text(f'#!/bin/sh\nshift 2\nexec {shlex.quote(sys.executable)} -c {code} "$@"\n')
    path.chmod(0o755)
    return path


def pack(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    data = write_coco(tmp_path, 3)
    variables = {
        "PYTHON": str(without_report(tmp_path)),
        "PYTHONPATH": str(ROOT),
        "SWEEP": str(tmp_path / "sweep"),
        "OVERRIDES": f"calibration.size=2 evaluation.images=2 sweep.cache={tmp_path}/cache",
    }
    return subprocess.run(
        ["bash", str(SCRIPT), str(CARRIED / "yolov8n_shapes.onnx"), *data, str(tmp_path / "kit")],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )


def test_one_command_packs_the_case_and_a_target_measures_it(tmp_path: Path) -> None:
    packed = pack(tmp_path)
    assert packed.returncode == 0, packed.stdout + packed.stderr
    kit, sweep = tmp_path / "kit", tmp_path / "sweep"
    rows = json.loads((kit / "kit.json").read_text())["rows"]
    assert len(rows) == 6
    assert sum(row["implicit"] for row in rows.values()) == 2
    of_rule = {(row.calibrator, row.plan) for row in RowStore(sweep).rows()}
    assert of_rule == {
        (rule, plan) for rule in ("minmax", "entropy2") for plan in ("all", "float_first_and_head")
    }
    files = [path for path in kit.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 48 * 2**20

    ended = run_there(
        kit, "--name", "orin", "--jobs", "*native-*", *QUICK, **on_stand_in("8.5.1.7")
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = said_by(merge_main, kit)
    assert said.status == 0, said.err
    merged = {row.calibrator for row in RowStore(sweep).rows() if row.measured_on == "orin"}
    assert merged == {f"tensorrt_{name}" for name in NATIVE}


def test_a_kit_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    packed = pack(tmp_path)
    assert packed.returncode == 2
    assert "exists already" in packed.stderr
    assert not (tmp_path / "sweep").exists()
