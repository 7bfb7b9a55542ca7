"""The generator: the same pixels everywhere, tight boxes, domains and outliers that show."""

from __future__ import annotations

import hashlib
from typing import Any

import cv2
import numpy as np
import pytest

from bench.data import shapes
from bench.data.glyphs import GLYPHS, glyph_mask
from bench.data.shapes import CLASSES, DOMAINS, Scene, draw_picture, draw_scene, split_seed


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(split_seed("validation", index)) for index in range(40)]


# --- the same pixels on every machine -------------------------------------------------------------
# Models are trained on these. A change means another dataset: raise GENERATOR_VERSION, train again.

SCENES = {
    ("day", False): "14523d888e653776",
    ("day", True): "b3e3dd3ab0c10ba8",
    ("night", False): "edb3c7b98dd2297d",
    ("night", True): "31faebe39a26227c",
    ("glare", False): "0ae7a05cea4c2ba7",
    ("glare", True): "b0e03c6f1fba2d61",
}
PICTURES = {
    ("day", False): "541992ff50752a6d",
    ("day", True): "45b4a7a9b4ddedf2",
    ("night", False): "b8399a4675bf12a8",
    ("night", True): "94b248b7a0332475",
    ("glare", False): "a8b10063221648b0",
    ("glare", True): "a8546ef82deb3c60",
}
FIRST = {
    "train": ("2044f2171f8befd6", "4f532d276af2626a"),
    "calibration": ("e98f9138933a4842", "5696fa51db36aa7e"),
    "validation": ("0ee58b4454ea41f7", "df56c77e739527df"),
}


@pytest.mark.parametrize("kind", SCENES, ids=str)
def test_pinned_scenes_and_pictures(kind):
    domain, outlier = kind
    seed = split_seed("validation", 7)
    scene = draw_scene(seed, domain=domain, outlier=outlier)
    assert digest(scene.image) == SCENES[kind]
    assert digest(scene.boxes, scene.labels) == "92f4f2d425bf6e10"  # light moves no object
    assert (scene.domain, scene.outlier) == kind
    picture, label = draw_picture(seed, domain=domain, outlier=outlier)
    assert digest(picture) == PICTURES[kind]
    assert label == CLASSES.index("crescent")


@pytest.mark.parametrize("split", FIRST)
def test_pinned_first_of_every_split(split):
    seed = split_seed(split, 0)
    assert (digest(draw_scene(seed).image), digest(draw_picture(seed)[0])) == FIRST[split]


def test_drawing_twice_gives_the_same():
    one, other = draw_scene(12345), draw_scene(12345)
    assert digest(one.image, one.boxes) == digest(other.image, other.boxes)


# --- objects and boxes ----------------------------------------------------------------------------


def test_images_are_of_photographs_sizes(scenes):
    for scene in scenes:
        assert scene.image.dtype == np.uint8
        assert scene.image.shape[2] == 3
        assert 256 <= max(scene.image.shape[:2]) <= 320
    assert len({scene.image.shape for scene in scenes}) > 3


def test_boxes_lie_inside_the_image(scenes):
    for scene in scenes:
        height, width, _ = scene.image.shape
        assert scene.boxes.shape == (len(scene.labels), 4)
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, 2:] <= [width, height]).all()
        assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()


def test_boxes_are_tight_and_most_of_an_object_shows(monkeypatch):
    painted: list[int] = []
    visible: list[np.ndarray] = []
    paint, box = shapes._paint, shapes._visible_box

    def record_paint(rng: Any, region: Any, mask: Any) -> None:
        painted.append(int((mask > 127).sum()))
        paint(rng, region, mask)

    def record_box(mask: Any) -> Any:
        visible.append(mask.copy())
        return box(mask)

    monkeypatch.setattr(shapes, "_paint", record_paint)
    monkeypatch.setattr(shapes, "_visible_box", record_box)
    occluded = 0
    for index in range(10):
        painted.clear()
        visible.clear()
        scene = draw_scene(split_seed("calibration", index))
        assert len(painted) == len(visible) == len(scene.labels)
        for area, mask, found in zip(painted, visible, scene.boxes, strict=True):
            rows, columns = np.nonzero(mask)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_array_equal(found, tight)
            assert mask.sum() >= shapes.LEAST_VISIBLE * area
            occluded += int(mask.sum() < area)
    assert occluded > 3


def test_one_to_twelve_objects_of_every_class_in_all_three_sizes(scenes):
    counts = [len(scene.labels) for scene in scenes]
    assert min(counts) >= 1
    assert max(counts) <= 12
    assert len(set(counts)) > 8
    assert set(np.concatenate([scene.labels for scene in scenes])) == set(range(10))
    boxes = np.concatenate([scene.boxes for scene in scenes])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    small, medium = (areas < 32**2).mean(), ((areas >= 32**2) & (areas < 96**2)).mean()
    assert 0.15 < small < 0.6
    assert 0.25 < medium < 0.7
    assert (areas >= 96**2).mean() > 0.1


@pytest.mark.parametrize("name", GLYPHS)
def test_a_glyph_fills_its_mask(name):
    mask = glyph_mask(name, 40, 30, 1.2)
    for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
        assert edge.max() > 0
    assert mask.max() == 255
    assert 20 < max(mask.shape) < 60
    assert (glyph_mask(name, 80, 30, 1.2).shape[0] / mask.shape[0]) == pytest.approx(2, abs=0.1)


def test_glyphs_look_different():
    masks = [cv2.resize(glyph_mask(name, 64, 0, 1.0), (64, 64)) for name in CLASSES]
    for i, one in enumerate(masks):
        for other in masks[i + 1 :]:
            assert np.abs(one.astype(int) - other).mean() > 10


# --- domains and outliers -------------------------------------------------------------------------


def brightness(domain: Any) -> float:
    seeds = (split_seed("validation", index) for index in range(12))
    return float(np.mean([draw_scene(s, domain=domain, outlier=False).image.mean() for s in seeds]))


def test_domains_can_be_chosen_and_show():
    light = {domain: brightness(domain) for domain in DOMAINS}
    assert light["night"] < 0.7 * light["day"]
    assert light["glare"] > 1.2 * light["day"]


def test_every_domain_occurs_and_outliers_are_rare(scenes):
    assert {scene.domain for scene in scenes} == set(DOMAINS)
    assert sum(scene.outlier for scene in scenes) <= 3
    rng = np.random.Generator(np.random.PCG64(0))
    drawn = [shapes._choose_kind(rng, None, None)[1] for _ in range(20_000)]
    assert np.mean(drawn) == pytest.approx(shapes.OUTLIERS_PER_1000 / 1000, rel=0.3)


def test_outliers_are_over_exposed_or_have_saturated_pixels():
    ratios = []
    for index in range(10):
        seed = split_seed("validation", index)
        plain = draw_scene(seed, domain="day", outlier=False).image
        odd = draw_scene(seed, domain="day", outlier=True).image
        extreme = [((image == 0) | (image == 255)).mean() for image in (plain, odd)]
        ratios.append(extreme[1] - extreme[0])
    assert min(ratios) > 0.05


# --- splits ---------------------------------------------------------------------------------------


def test_splits_never_meet():
    last = 9_999_999
    first, second, third = (
        range(split_seed(split, 0), split_seed(split, last) + 1)
        for split in ("train", "calibration", "validation")
    )
    assert len(first) == len(second) == len(third) == last + 1
    assert first.stop <= second.start
    assert second.stop <= third.start
    for outside in (-1, last + 1):
        with pytest.raises(ValueError, match="outside"):
            split_seed("train", outside)


def test_pictures_are_small_and_of_every_class():
    drawn = [draw_picture(split_seed("train", index)) for index in range(60)]
    assert all(picture.shape == (64, 64, 3) for picture, _ in drawn)
    assert {label for _, label in drawn} == set(range(10))
