"""Images without labels: what the dataset says of itself, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from bench.data.images import ImagesDataset
from bench.errors import BenchError


def open_images(folder: Any, **changes: Any) -> ImagesDataset:
    given = {
        "task": "detection", "root": str(folder / "val"), "classes": 3,
        "calibration_root": str(folder / "calib"),
    }  # fmt: skip
    return ImagesDataset(**(given | changes))


@pytest.fixture
def folder(tmp_path, write_picture):
    write_picture(tmp_path / "val" / "any" / "a.png")
    write_picture(tmp_path / "calib" / "b.png")
    return tmp_path


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_for_any_task_without_truth(folder, task):
    data = open_images(folder, task=task)
    assert (data.task, data.class_names) == (task, ("0", "1", "2"))
    assert data.boxes is data.labels is None
    assert (data.validation.names, data.calibration.names) == (("any/a.png",), ("b.png",))


def test_fingerprint(folder, write_picture):
    keys = [open_images(folder).fingerprint, open_images(folder).fingerprint]
    assert keys[0] == keys[1]
    keys.append(open_images(folder, classes=4).fingerprint)
    write_picture(folder / "calib" / "c.png")
    assert len({*keys, open_images(folder).fingerprint}) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"root": None, "classes": None}, "needs dataset.root=PATH, dataset.classes=NUMBER"),
        ({"calibration_root": ""}, "needs dataset.calibration_root=PATH"),
        ({"classes": 0}, "dataset.classes=0 is below 1"),
        ({"labels": "labels.csv"}, "Use fp32, or dataset=imagefolder"),
        ({"root": "/nowhere"}, "Check dataset.root"),
    ],
)
def test_what_is_wrong_in_one_line(folder, changes, told):
    with pytest.raises(BenchError) as caught:
        open_images(folder, **changes)
    assert told in str(caught.value)


def test_nothing_to_balance_over(folder):
    with pytest.raises(BenchError, match="needs labels, but dataset images has none"):
        open_images(folder).calibration_classes()
