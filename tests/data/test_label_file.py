"""A folder of images and a file of labels, as ImageNet's and many exports have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.imagefolder import ImageFolderDataset
from bench.errors import BenchError, ConfigError, DataError


@pytest.fixture
def folder(tmp_path, write_picture) -> Path:
    for seed, name in enumerate(("a.png", "b c.png", "n01/d.png")):
        write_picture(tmp_path / "val" / name, seed)
    write_picture(tmp_path / "calib" / "e.png", 9)
    return tmp_path


def open_labelled(folder: Path, text: str, **changes: Any) -> ImageFolderDataset:
    (folder / "labels.txt").write_text(text)
    given = {
        "task": "classification", "root": str(folder / "val"), "classes": 5,
        "calibration_root": str(folder / "calib"), "labels": str(folder / "labels.txt"),
    }  # fmt: skip
    return ImageFolderDataset(**(given | changes))


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nb c.png,4\na.png,0\nn01/d.png,4\n",
        'b c.png,4\n\n"a.png", "0"\nn01/d.png,4',
        "b c.png 4\na.png\t0\nn01/d.png 4\n",
        "\ufeffname class\r\nb c.png 4\r\na.png 0\r\nn01/d.png 4\r\n",
    ],
    ids=["head", "quoted", "blanks", "windows"],
)
def test_the_forms_of_a_label_file(folder, text):
    data = open_labelled(folder, text)
    assert data.validation.names == ("b c.png", "a.png", "n01/d.png")
    np.testing.assert_array_equal(data.labels, [4, 0, 4])
    assert len(data.class_names) == 5


def test_images_are_found_in_folders_that_the_file_does_not_know(folder, write_picture):
    assert open_labelled(folder, "d.png 3\na.png 1").validation.names == ("n01/d.png", "a.png")
    write_picture(folder / "val" / "n02" / "d.png", 7)
    with pytest.raises(DataError, match=r"1 of the 1 images .* \(first: .*val/d\.png\)"):
        open_labelled(folder, "d.png 3")


def test_images_without_a_label_are_left_out(folder):
    assert open_labelled(folder, "a.png 3").validation.names == ("a.png",)


def test_a_name_alone_may_lie_beside_the_images(folder):
    (folder / "val" / "own.csv").write_text("a.png,1\n")
    assert open_labelled(folder, "", labels="own.csv").labels.tolist() == [1]


def test_fingerprint(folder):
    keys = {
        open_labelled(folder, "a.png 1").fingerprint,
        open_labelled(folder, "a.png 2").fingerprint,
        open_labelled(folder, "a.png 2", classes=6).fingerprint,
        open_labelled(folder, "file label\na.png 2").fingerprint,
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("text", "changes", "told"),
    [
        ("a.png 1\nb c.png dog", {}, "line 2: 'dog' is not a class index"),
        ("a.png 1\nb", {}, "line 2: 'b' is not an image with its class"),
        ("a.png 1\na.png 2", {}, "line 2: a.png is labelled twice"),
        ("a.png 1\nlost.png 2", {}, "1 of the 2 images"),
        ("a.png 5", {}, "a.png is of class 5, which is not in 0 to 4"),
        ("a.png -1", {}, "a.png is of class -1"),
        ("", {}, "labels no images"),
        ("a.png 1", {"labels": "/nowhere.csv"}, "label file /nowhere.csv does not exist"),
        ("a.png 1", {"root": "/nowhere"}, "Check dataset.root"),
        ("a.png 1", {"classes": None}, "Add dataset.classes=1000"),
        ("a.png 1", {"labels": None}, "dataset.classes=5 needs dataset.labels"),
    ],
)
def test_what_is_wrong_in_one_line(folder, text, changes, told):
    with pytest.raises(BenchError) as caught:
        open_labelled(folder, text, **changes)
    assert isinstance(caught.value, (ConfigError, DataError))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
