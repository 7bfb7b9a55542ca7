"""Values that look like data and are not: each is one line, where it was a silent metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil

from bench.data.coco import CocoDataset
from bench.data.dataset import MOST_CLASSES
from bench.data.files import FileSamples, list_images
from bench.data.imagefolder import ImageFolderDataset
from bench.data.images import ImagesDataset
from bench.data.preprocess import Preprocess
from bench.data.voc import VocDataset
from bench.data.yolo import YoloDataset
from bench.errors import BenchError, ConfigError, DataError
from tests.inputs import coco_annotations


def open_coco(files: Path, folder: Path, content: Any) -> CocoDataset:
    """Of the six images; ``content`` as it is, or JSON of it."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "boxes.json").write_text(text)
    images = str(files / "coco" / "val")
    return CocoDataset("detection", images, str(folder / "boxes.json"), images)


NAMES = [f"{number}.png" for number in range(6)]


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [1, 2, None, 4]},
        {"bbox": [1, 2, float("nan"), 4]},
        {"bbox": [1, 2, float("inf"), 4]},
        {"bbox": [1, 2, -3, 4]},
        {"bbox": [1, 2, 3, 10**400]},
        {"bbox": [1, 2, 3, 4, 5]},
        {"bbox": [True, 2, 3, 4]},
        {"bbox": "1234"},
        {"area": float("nan")},
        {"area": -1},
        {"area": "400"},
    ],
    ids=str,
)
def test_a_box_of_coco_is_of_four_numbers_in_an_image(
    changes: dict[str, Any], files: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"boxes\.json: annotation 0 has the box .* in pixels"):
        open_coco(files, tmp_path, coco_annotations(NAMES, **changes))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (coco_annotations(["./0.png", *NAMES[1:], "0.png"]), "lists the image 0.png twice"),
        (coco_annotations(["\ud800.png"]), "1 of the 1 images"),
        (coco_annotations(["0\0.png"]), "1 of the 1 images"),
        (coco_annotations(NAMES) | {"categories": [{"id": 1, "name": "\ud800"},
                                                   {"id": 2, "name": "b"}]}, "boxes.json"),
        ("[" * 200_000, "is not a COCO annotation file"),
        ('{"images": ' + "9" * 5000 + "}", "is not a COCO annotation file"),
        (json.dumps(coco_annotations(NAMES)).replace('"file_name"', '"width": 1e999, "height": 1,'
                                                     '"file_name"'), "boxes.json"),
        ({"images": "abc", "annotations": [1], "categories": [1]}, "boxes.json"),
        ({"images": [[]], "annotations": [[]], "categories": [[]]}, "boxes.json"),
    ],
)  # fmt: skip
def test_what_no_coco_file_says(content: Any, told: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_coco(files, tmp_path, content)
    assert told in str(caught.value) and "conf/" not in str(caught.value)


@pytest.mark.parametrize("side", ["xmin", "ymax"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_box_of_voc_is_finite(side: str, value: str, tmp_path: Path, write_picture: Any) -> None:
    write_picture(tmp_path / "JPEGImages" / "a.jpg")
    for split in ("train", "val"):
        listed = tmp_path / "ImageSets" / "Main" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("a\n")
    box = {"xmin": "1", "ymin": "1", "xmax": "5", "ymax": "5", side: value}
    sides = "".join(f"<{key}>{own}</{key}>" for key, own in box.items())
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(
        f"<annotation><object><name>cat</name><bndbox>{sides}</bndbox></object></annotation>"
    )
    with pytest.raises(DataError, match="has no box"):
        _ = VocDataset("detection", str(tmp_path)).boxes


@pytest.mark.parametrize("word", ["nan", "inf", "-0.5", "1e999"])
def test_a_label_of_yolo_is_in_the_image(word: str, tmp_path: Path, write_picture: Any) -> None:
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(f"0 0.5 {word} 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("{train: images, val: images, names: [a]}")
    with pytest.raises(DataError, match="not in 0 to 1"):
        _ = YoloDataset("detection", str(tmp_path / "data.yaml")).boxes


# --- how many classes -----------------------------------------------------------------------------


def test_more_classes_than_any_model_has_are_not_counted(
    tmp_path: Path, write_picture: Any
) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "data.yaml").write_text("{train: ., val: ., nc: 1000000000}")
    with pytest.raises(ConfigError, match=r"nc: 1000000000 in .* is more than 100,000"):
        YoloDataset("detection", str(tmp_path / "data.yaml"))
    with pytest.raises(ConfigError, match="classes=1000000000 is more than"):
        ImagesDataset("detection", str(tmp_path), str(tmp_path), 10**9)
    (tmp_path / "labels.csv").write_text("a.png,1\n")
    with pytest.raises(ConfigError, match="classes=100001 is more than"):
        ImageFolderDataset(
            "classification", str(tmp_path), str(tmp_path), str(tmp_path / "labels.csv"),
            MOST_CLASSES + 1,
        )  # fmt: skip


def test_aliases_that_multiply_are_refused(tmp_path: Path, write_picture: Any) -> None:
    """Nine deep they are a billion words."""
    write_picture(tmp_path / "a.png")
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for name, below in zip("bcdefghi", "abcdefgh", strict=True):
        levels.append(f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]")
    text = "\n".join([*levels, "train: .", "val: .", "names: *i"])
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data\.yaml repeats parts by aliases"):
        YoloDataset("detection", str(tmp_path / "data.yaml"))


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.png,O\nb.png,1\n", "line 1: 'O' is not a class index"),
        ("a.png 1x\nb.png 1\n", "line 1: '1x' is not a class index"),
        ("a.png,1_0\n", "line 1: '1_0' is not a class index"),
        (f"a.png,{'9' * 5000}\n", "is not a class index"),
        ("a.png,1\n./a.png,1\n", r"line 2: \./a\.png is labelled twice"),
        ("inner/a.png,1\na.png,1\n", "lists nothing|labels .* twice|do not exist"),
    ],
)
def test_a_label_file_has_no_silent_lines(
    text: str, told: str, tmp_path: Path, write_picture: Any
) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        ImageFolderDataset(
            "classification", str(tmp_path), str(tmp_path), str(tmp_path / "labels.csv"), 5
        )


def test_an_image_by_two_names_is_counted_once(tmp_path: Path, write_picture: Any) -> None:
    write_picture(tmp_path / "deep" / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\ndeep/a.png,1\na.png,1\n")
    with pytest.raises(DataError, match=r"labels deep/a\.png twice, under two names"):
        ImageFolderDataset(
            "classification", str(tmp_path), str(tmp_path), str(tmp_path / "labels.csv"), 5
        )


# --- images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "suffix"), [(np.uint16, ".png"), (np.int32, ".tif"), (np.float32, ".tiff")]
)
def test_an_image_of_more_than_eight_bits_is_not_made_white(
    kind: type, suffix: str, tmp_path: Path
) -> None:
    Pil.fromarray((np.arange(64).reshape(8, 8) * 900).astype(kind)).save(tmp_path / f"a{suffix}")
    samples = FileSamples(tmp_path, [f"a{suffix}"])
    with pytest.raises(DataError, match=r"has more than 8 bits in a pixel .* Convert it to 8 bits"):
        samples.image(0)


@pytest.mark.parametrize(("format", "suffix"), [("EPS", ".png"), ("GIF", ".jpg"), ("PCX", ".bmp")])
def test_pillow_opens_only_what_an_image_of_that_name_may_be(
    format: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow hands an EPS to Ghostscript, whatever its name."""
    Pil.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"a{suffix}", format=format)
    with pytest.raises(DataError, match="cannot be read as an image"):
        FileSamples(tmp_path, [f"a{suffix}"]).image(0)
    with pytest.raises(DataError, match="cannot be read as an image"):
        FileSamples(tmp_path, [f"a{suffix}"]).size(0)


def test_a_zip_is_not_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"is a file, not a folder of images\. Unpack it"):
        list_images(tmp_path / "images.zip", "dataset.root")


@pytest.mark.parametrize(
    "given",
    [
        {"std": (np.inf, 1, 1)}, {"std": (np.nan, 1, 1)}, {"std": (0, 1, 1)},
        {"mean": (np.nan, 0, 0)}, {"mean": (0, np.inf, 0)}, {"std": (1e-45, 1, 1)},
        {"scale": np.nan},
    ],
    ids=str,
)  # fmt: skip
def test_preprocessing_makes_finite_numbers(given: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match=r"model\.preprocess\.(mean and std|scale)"):
        Preprocess((8, 8), **given)


def test_names_that_no_file_can_have_are_told(tmp_path: Path) -> None:
    for name in ("\0", "\ud800", "x" * 5000):
        with pytest.raises(DataError, match="does not exist"):
            CocoDataset("detection", str(tmp_path), f"{tmp_path}/{name}", str(tmp_path))
