"""FP32 mAP of the embedded YOLOv8n: our harness against Ultralytics' own validator.

It reads the drawn dataset from the files of ``scripts/export_shapes.py``. Its average precision is
not COCO's: it interpolates linearly between the points of the precision-recall curve, which starts
at precision 1, where COCOeval takes the precision of the next point reached. That is the whole
difference, 0.0024 (ours 0.7675, its 0.7699): under COCOeval its detections score as ours do.
Runs where ``pip install -e '.[ultralytics]'`` was done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli.compose import build_run
from bench.evaluation.coco_map import evaluate_boxes
from bench.model.detections import Detections
from bench.model.zoo import CARRIED
from bench.run.measure import baseline_of, validation_images
from scripts.export_shapes import export_scenes
from tests.composing import composed

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")
ultralytics = pytest.importorskip("ultralytics", reason="needs the extra 'ultralytics'")

TOLERANCE = 0.003
SAME_DETECTIONS = 1e-5
"""mAP: float32 rounding on the way from the picture to its boxes."""


def validate(file: Path, folder: Path) -> tuple[float, Mapping[str, Detections]]:
    """The package's mAP50-95 with the harness's settings, and what it detected in each picture."""
    from ultralytics.models.yolo.detect import DetectionValidator

    found: dict[str, Detections] = {}

    class Recorder(DetectionValidator):
        def update_metrics(self, preds: list[Any], batch: dict[str, Any]) -> None:
            super().update_metrics(preds, batch)
            for index, own in enumerate(preds):
                image = self._prepare_batch(index, batch)
                placed = self.scale_preds(own, image)  # from the network's input to the picture
                columns = (placed[key].numpy() for key in ("bboxes", "conf", "cls"))
                boxes, scores, labels = columns
                name = Path(image["im_file"]).stem
                found[name] = Detections(boxes, scores, labels.astype(np.int64))

    network = ultralytics.YOLO(str(CARRIED / "yolov8n_shapes.onnx"), task="detect")
    metrics = network.val(
        validator=Recorder, data=str(file), imgsz=256, batch=1, conf=0.001, iou=0.7, max_det=300,
        rect=False, plots=False, device="cpu", verbose=False, project=str(folder),
    )  # fmt: skip
    return float(metrics.box.map), found


@pytest.mark.usefixtures("torchvision_works")
def test_the_same_map_as_its_validator(tmp_path: Path) -> None:
    cache = f"sweep.cache={tmp_path / 'cache'}"
    run = build_run(composed("model=yolov8n", "dataset=shapes", cache))
    _, ours = baseline_of(run, validation_images(run))

    scenes: Any = run.dataset
    theirs, found = validate(export_scenes(scenes, tmp_path / "shapes"), tmp_path / "runs")
    assert len(found) == len(scenes.validation) == 400
    assert theirs == pytest.approx(ours.value, abs=TOLERANCE)

    detections = [found[name] for name in scenes.validation.names]
    by_coco = evaluate_boxes(scenes.boxes, detections, len(scenes.class_names))
    assert by_coco.map50_95 == pytest.approx(ours.value, abs=SAME_DETECTIONS)
