"""The weights that the package carries are what their cards say, and good enough to measure on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench.cache import hash_file
from bench.cli.compose import build_run
from bench.data.prepared import prepare
from bench.evaluation.task import ClassificationTask, DetectionTask
from bench.model.zoo import CARRIED
from tests.composing import composed

NAMES = ("mobilenetv2", "resnet18", "yolov8n")
MOST_BYTES = 25_000_000


def test_together_they_are_small() -> None:
    files = sorted(CARRIED.glob("*.onnx"))
    assert [file.name for file in files] == [f"{name}_shapes.onnx" for name in NAMES]
    assert sum(file.stat().st_size for file in files) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_card_belongs_to_the_file(name: str) -> None:
    card = json.loads((CARRIED / f"{name}_shapes.json").read_text())
    assert card["architecture"] == name
    assert card["sha256"] == hash_file(CARRIED / f"{name}_shapes.onnx")
    assert card["metric_value"] >= (0.5 if name == "yolov8n" else 0.9)


@pytest.mark.parametrize(
    ("name", "images", "least"),
    [("yolov8n", 48, 0.6), ("resnet18", 200, 0.95), ("mobilenetv2", 200, 0.95)],
)
def test_fp32_is_as_good_as_the_card_says(name, images, least, tmp_path) -> None:
    run = build_run(composed(f"model={name}", f"dataset.validation_images={images}"))
    samples, model = run.dataset.validation, run.model
    prepared = prepare(samples, "test", range(images), model.preprocess, tmp_path)
    task: DetectionTask | ClassificationTask = (
        DetectionTask(model.head, run.dataset.boxes, 10)
        if model.head.task == "detection"
        else ClassificationTask(model.head, run.dataset.labels)
    )
    with run.baseline_engine.build(model.network.proto) as session:
        predictions = [
            task.predict([np.asarray(o[0]) for o in session.run(prepared.batch(i, 1))], fitting)
            for i, fitting in enumerate(prepared.fittings)
        ]
    assert task.score(predictions).value >= least
