"""Words of short runs on the stand-in for TensorRT, and the rows that they left."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.command import CUSTOM, Bench

FEW = CUSTOM
SMALL = ["model=custom", "model.head=classifier", "model.path=FILES/two_classes.onnx",
         "dataset=imagefolder", "dataset.root=FILES/folder/val",
         "dataset.calibration_root=FILES/folder/calib"]  # fmt: skip
IMPLICIT = ["engine=tensorrt", "engine.mode=implicit", "placement=implicit"]
NATIVE = "calibrator.batch_size=2"
NATIVELY = [*IMPLICIT, "calibrator=tensorrt_minmax"]


def rows(run: Bench) -> list[dict[str, Any]]:
    return [json.loads(path.read_text())["row"] for path in run.rows]
