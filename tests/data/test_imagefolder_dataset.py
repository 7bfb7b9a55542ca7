"""One folder per class: labels by the folders' order, and what cannot be told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.imagefolder import ImageFolderDataset
from bench.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path, write_picture) -> Path:
    for index, name in enumerate(["dog/1.png", "cat/2.png", "dog/0.png", "eel/x/deep.png"]):
        write_picture(tmp_path / "val" / name, seed=index)
    write_picture(tmp_path / "calib" / "anywhere.png")
    return tmp_path


def open_dataset(folder: Path, **changes: Any) -> ImageFolderDataset:
    given = {
        "task": "classification",
        "root": str(folder / "val"),
        "calibration_root": str(folder / "calib"),
    }
    return ImageFolderDataset(**(given | changes))


def test_a_good_folder(folder):
    data = open_dataset(folder, name="pets")
    assert (data.name, data.task) == ("pets", "classification")
    assert data.class_names == ("cat", "dog", "eel")
    assert data.validation.names == ("cat/2.png", "dog/0.png", "dog/1.png", "eel/x/deep.png")
    np.testing.assert_array_equal(data.labels, [0, 1, 1, 2])
    assert data.labels.dtype == np.int64
    assert data.calibration.names == ("anywhere.png",)


def test_a_class_without_images_keeps_its_index(folder):
    (folder / "val" / "cow").mkdir()
    data = open_dataset(folder)
    assert data.class_names == ("cat", "cow", "dog", "eel")
    np.testing.assert_array_equal(data.labels, [0, 2, 2, 3])


def test_fingerprint(folder, write_picture):
    before = open_dataset(folder).fingerprint
    assert open_dataset(folder).fingerprint == before
    write_picture(folder / "calib" / "more.png")
    more = open_dataset(folder).fingerprint
    (folder / "val" / "cat" / "2.png").rename(folder / "val" / "dog" / "2.png")
    assert len({before, more, open_dataset(folder).fingerprint}) == 3


def test_for_classifiers_only(folder):
    with pytest.raises(ConfigError, match=r"the model is for detection\. Use dataset=coco"):
        open_dataset(folder, task="detection")


@pytest.mark.parametrize("key", ["root", "calibration_root"])
def test_paths_that_are_not_given(folder, key):
    with pytest.raises(ConfigError, match=rf"needs dataset\.{key}=PATH"):
        open_dataset(folder, **{key: None})


def test_folders_that_are_not_there(folder):
    with pytest.raises(DataError, match=r"/nowhere does not exist\. Check dataset\.root"):
        open_dataset(folder, root="/nowhere")
    data = open_dataset(folder, calibration_root="/nowhere")
    with pytest.raises(DataError, match=r"Check dataset\.calibration_root"):
        _ = data.calibration


def test_images_outside_the_class_folders(folder, write_picture):
    write_picture(folder / "val" / "loose.png")
    with pytest.raises(DataError, match=r"loose\.png is in .*/val itself, not in a class folder"):
        open_dataset(folder)


def test_classification_has_no_boxes(folder):
    with pytest.raises(NotImplementedError):
        _ = open_dataset(folder).boxes


def test_calibration_classes_are_folders(folder, write_picture):
    with pytest.raises(ConfigError, match=r"anywhere\.png is in .*calib itself"):
        open_dataset(folder).calibration_classes()
    data = open_dataset(folder, calibration_root=str(folder / "val"))
    assert data.calibration_classes() == [{0}, {1}, {1}, {2}]
