"""The order of calibration images: by seed, balanced over classes, or as a file lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.data.calibration_order import ImageList, calibration_order, read_image_list
from bench.data.images import ImagesDataset
from bench.errors import DataError

NAMES = [f"{index:03d}.png" for index in range(40)]


def order(strategy, seed=0, classes: Sequence[Collection[int]] = (), names=NAMES) -> list[int]:
    return calibration_order(names, strategy, seed, None, lambda: classes).tolist()


def listed(*entries: str, names: Sequence[str] = NAMES) -> list[int]:
    found = calibration_order(names, "random", 0, ImageList("list.txt", entries), no_classes)
    return found.tolist()


def no_classes() -> Sequence[Collection[int]]:
    raise AssertionError("nobody needs classes")


def test_a_random_order_is_the_seeds_shuffle():
    expected = np.random.default_rng(3).permutation(40).tolist()
    assert calibration_order(NAMES, "random", 3, None, no_classes).tolist() == expected


def test_every_prefix_of_a_balanced_order_is_balanced():
    classes = [{0}] * 20 + [{7}] * 12 + [{3}] * 8
    found = order("balanced", classes=classes)
    assert sorted(found) == list(range(40))
    for size in range(1, 25):  # as long as the smallest class lasts
        counts = Counter(next(iter(classes[index])) for index in found[:size])
        assert max(counts.values()) - min(counts.get(label, 0) for label in (0, 3, 7)) <= 1
    assert {next(iter(classes[index])) for index in found[32:]} == {0}  # what is left


def test_the_seed_orders_classes_and_images():
    classes = [{index % 4} for index in range(40)]
    found = [order("balanced", seed, classes) for seed in range(8)]
    assert order("balanced", 0, classes) == found[0]
    assert len({tuple(one) for one in found}) == 8
    assert len({tuple(index % 4 for index in one[:4]) for one in found}) > 1


def test_an_image_of_several_classes_counts_for_the_rarest():
    # Class 9 is shown by two images, class 0 by all; one image shows nothing.
    classes: list[Collection[int]] = [{0, 9}, {0}, {9, 0}, {0}, [], {0}]
    found = order("balanced", classes=classes, names=NAMES[:6])
    groups = [{0, 2}, {1, 3, 5}, {4}]
    for group in groups:
        assert len(group & set(found[:3])) == 1


def test_a_list_settles_images_and_order():
    assert listed("007.png", "001.png", "030.png") == [7, 1, 30]


@pytest.mark.parametrize(
    "entry", ["b/2.png", "/data/moved/b/2.png", "2.png", "b/2.png 65", "2.png 65"]
)
def test_the_forms_of_an_entry(entry):
    assert listed(entry, names=["a/1.png", "b/2.png"]) == [1]


def test_names_with_blanks_in_them():
    assert listed("my dog.png", "my cat.png 3", names=["my cat.png", "my dog.png"]) == [1, 0]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (("2.png",), "matches a/2.png and b/2.png"),
        (("a/1.png", "1.png"), "lists a/1.png twice"),
        (
            ("a/1.png", "lost.png"),
            r"1 of the 2 images in list\.txt are not .* \(first: lost\.png\)",
        ),
        (("c/1.png",), r"1 of the 1 images"),
    ],
)
def test_a_list_that_does_not_fit(entries, told):
    with pytest.raises(DataError, match=told):
        listed(*entries, names=["a/1.png", "a/2.png", "b/2.png"])


# As in mlcommons/inference: calibration/COCO/coco_cal_images_list.txt, calibration/ImageNet/
# cal_image_list_option_1.txt and a val_map.txt, whose lines end with the class.
MLPERF = {
    "COCO": ("000000391895.jpg\n000000522418.jpg\n", "train2017/000000{}.jpg", (391895, 522418)),
    "ImageNet": (
        "ILSVRC2012_val_00000027.JPEG\nILSVRC2012_val_00000003.JPEG\n",
        "ILSVRC2012_val_000000{:02}.JPEG",
        (27, 3),
    ),
    "ImageNet with classes": (
        "ILSVRC2012_val_00000027.JPEG 65\nILSVRC2012_val_00000003.JPEG 970\n",
        "n01440764/ILSVRC2012_val_000000{:02}.JPEG",
        (27, 3),
    ),
}


@pytest.mark.parametrize("kind", MLPERF)
def test_mlperf_s_lists_find_their_images_in_their_order(kind, tmp_path, write_picture):
    text, name, numbers = MLPERF[kind]
    for seed, number in enumerate((*numbers, 55)):
        write_picture(tmp_path / "calib" / name.format(number), seed)
    (tmp_path / "list.txt").write_text(text)
    data = ImagesDataset("classification", str(tmp_path), str(tmp_path / "calib"), 1000)
    names = data.calibration.names
    found = calibration_order(
        names, "random", 0, read_image_list(tmp_path / "list.txt"), data.calibration_classes
    )
    assert [names[index] for index in found] == [name.format(number) for number in numbers]


def test_reading_a_list(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text("# calibration\n\nILSVRC2012_val_00000001.JPEG \r\n  b.png 65\n # more\n")
    assert read_image_list(path).entries == ("ILSVRC2012_val_00000001.JPEG", "b.png 65")
    path.write_text("# nothing\n")
    with pytest.raises(DataError, match=r"list\.txt names no images\. Check calibration\.list"):
        read_image_list(path)
    with pytest.raises(DataError, match=r"does not exist\. Check calibration\.list"):
        read_image_list(tmp_path / "none.txt")
