"""Scenes of glyphs drawn from a seed: the embedded dataset, nothing stored, nothing downloaded.

A scene has 1 to 12 objects of ten classes in all three COCO sizes, rotated, stretched and partly
occluded, on a textured background with sensor noise. Its *domain* is ``day``, ``night`` (dark and
noisy) or ``glare`` (a bright veil over part of the picture); a rare *outlier* frame is over-exposed
or has saturated pixels. Images are 256 to 320 pixels long with the aspect ratios of photographs, so
a detector's letterbox pads them as it pads COCO.

Only integers, ``Generator.integers``, ``Generator.bytes`` and Pillow's fixed-point resampling touch
the pixels: a scene has the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bench.data.glyphs import GLYPHS, glyph_mask

Domain = Literal["day", "night", "glare"]

CLASSES: tuple[str, ...] = tuple(GLYPHS)
DOMAINS: tuple[Domain, ...] = ("day", "night", "glare")
PICTURE_SIZE = 64
MOST_OBJECTS = 12
OUTLIERS_PER_1000 = 10
LEAST_VISIBLE = 0.6
"""Share of an object that stays visible, whatever is drawn over it."""

_SPLITS = {"train": 1, "calibration": 2, "validation": 3}
_SEEDS_PER_SPLIT = 10_000_000
# Diameters in pixels of small, medium and large objects, and how often each is drawn (of 100).
_SIZES = (((16, 30), 30), ((34, 90), 45), ((104, 150), 25))

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """One drawn image with its ground truth.

    ``image`` height x width x 3 RGB uint8; ``boxes`` (n, 4) float32, x1 y1 x2 y2 in pixels around
    the visible part of each object; ``labels`` (n,) int64 indices into ``CLASSES``.
    """

    image: Pixels
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    domain: Domain
    outlier: bool


def split_seed(split: str, index: int) -> int:
    """The seed of image ``index`` of a split; the splits' seeds never meet."""
    if not 0 <= index < _SEEDS_PER_SPLIT:
        raise ValueError(f"index {index} is outside 0 to {_SEEDS_PER_SPLIT - 1}")
    return _SPLITS[split] * _SEEDS_PER_SPLIT + index


def draw_scene(seed: int, *, domain: Domain | None = None, outlier: bool | None = None) -> Scene:
    """Draw one scene; ``domain`` and ``outlier`` override what the seed would choose."""
    rng = np.random.Generator(np.random.PCG64(seed))
    domain, outlier = _choose_kind(rng, domain, outlier)
    long = int(rng.choice((256, 288, 320)))
    short = long * int(rng.choice((9, 12, 12, 12, 16))) // 16
    height, width = (short, long) if rng.integers(4) else (long, short)

    canvas = _background(rng, height, width)
    owner = np.zeros((height, width), np.int16)  # 0 background, k the k-th object drawn
    areas: list[int] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(1, MOST_OBJECTS + 1))):
        label = int(rng.integers(len(CLASSES)))
        mask = _random_mask(rng, label, _random_size(rng), min(height, width))
        place = _find_place(rng, owner, mask, areas)
        if place is None:
            continue
        _paint(rng, canvas[place], mask)
        owner[place][mask > 127] = len(areas) + 1
        areas.append(int((mask > 127).sum()))
        labels.append(label)
    boxes = [_visible_box(owner == k + 1) for k in range(len(areas))]
    return Scene(
        _expose(rng, canvas, domain, outlier),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        domain,
        outlier,
    )


def draw_picture(
    seed: int, *, domain: Domain | None = None, outlier: bool | None = None
) -> tuple[Pixels, int]:
    """Draw one object alone, 64 x 64 x 3 RGB uint8, and its class index: the view for Top-1."""
    rng = np.random.Generator(np.random.PCG64(seed))
    domain, outlier = _choose_kind(rng, domain, outlier)
    canvas = _background(rng, PICTURE_SIZE, PICTURE_SIZE)
    label = int(rng.integers(len(CLASSES)))
    mask = _random_mask(rng, label, int(rng.integers(24, 52)), PICTURE_SIZE)
    place = _random_place(rng, canvas.shape[:2], mask)
    _paint(rng, canvas[place], mask)
    return _expose(rng, canvas, domain, outlier), label


def _choose_kind(
    rng: np.random.Generator, domain: Domain | None, outlier: bool | None
) -> tuple[Domain, bool]:
    """What the seed says, unless told otherwise; the same draws are taken either way."""
    drawn_domain = DOMAINS[int(rng.choice((0, 0, 0, 1, 2)))]
    drawn_outlier = int(rng.integers(1000)) < OUTLIERS_PER_1000
    return domain or drawn_domain, drawn_outlier if outlier is None else outlier


def _background(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A base colour under two octaves of value noise, with a few lines as clutter."""
    base = rng.integers(30, 226, 3)
    layers = base[None, None, :].astype(np.int16)
    for cells, strength in ((3, 90), (12, 40)):
        grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        layers = layers + ((np.asarray(smooth, np.int16) - 128) * strength >> 8)
    picture = Image.fromarray(np.clip(layers, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(0, 8))):
        ends = [int(v) for v in rng.integers(0, max(height, width), 4)]
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        draw.line(ends, fill=colour, width=int(rng.integers(1, 4)))
    return np.array(picture)


def _random_size(rng: np.random.Generator) -> int:
    ticket, passed = int(rng.integers(100)), 0
    for (low, high), share in _SIZES:
        passed += share
        if ticket < passed:
            return int(rng.integers(low, high + 1))
    raise AssertionError("the shares of _SIZES add up to 100")


def _random_mask(rng: np.random.Generator, label: int, size: int, limit: int) -> Pixels:
    degrees, stretch = int(rng.integers(360)), int(rng.integers(75, 134)) / 100
    mask = glyph_mask(CLASSES[label], size, degrees, stretch)
    if max(mask.shape) >= limit:
        mask = glyph_mask(CLASSES[label], limit * 7 // 10, degrees, stretch)
    return mask


def _random_place(
    rng: np.random.Generator, shape: tuple[int, ...], mask: Pixels
) -> tuple[slice, slice]:
    top = int(rng.integers(0, max(shape[0] - mask.shape[0], 0) + 1))
    left = int(rng.integers(0, max(shape[1] - mask.shape[1], 0) + 1))
    return slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])


def _find_place(
    rng: np.random.Generator, owner: npt.NDArray[np.int16], mask: Pixels, areas: list[int]
) -> tuple[slice, slice] | None:
    """A place where every object already drawn keeps ``LEAST_VISIBLE`` of its area, or None."""
    visible = np.bincount(owner.ravel(), minlength=len(areas) + 1)
    needed = np.array([0] + [LEAST_VISIBLE * area for area in areas])
    for _ in range(8):
        place = _random_place(rng, owner.shape, mask)
        covered = np.bincount(owner[place][mask > 127], minlength=len(areas) + 1)
        if (visible - covered >= needed).all():
            return place
    return None


def _paint(rng: np.random.Generator, region: Pixels, mask: Pixels) -> None:
    """Blend a shaded colour into ``region`` (a view) under ``mask``, apart from what lies there."""
    under = region.reshape(-1, 3).mean(0)
    for _ in range(20):
        colour = rng.integers(0, 256, 3)
        if int(np.abs(colour - under).sum()) > 150:
            break
    height, width = mask.shape
    shade = rng.integers(-35, 36, (2, 2, 1), dtype=np.int16).astype(np.int16)
    corners = np.clip(colour + shade, 0, 255).astype(np.uint8)
    fill = Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)
    alpha = mask[:, :, None].astype(np.int32)
    mixed = np.asarray(fill, np.int32) * alpha + region.astype(np.int32) * (255 - alpha)
    region[:] = (mixed + 127) // 255


def _visible_box(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _expose(rng: np.random.Generator, canvas: Pixels, domain: Domain, outlier: bool) -> Pixels:
    """Light, sensor noise and, for an outlier frame, over-exposure or saturated pixels."""
    height, width, _ = canvas.shape
    light = canvas.astype(np.int32)
    noise = int(rng.integers(4, 14))
    if domain == "night":
        light = light * int(rng.integers(90, 150)) >> 8
        noise += 6
    elif domain == "glare":
        light += _veil(rng, height, width)[:, :, None] * int(rng.integers(90, 160)) >> 8
    raw = np.frombuffer(rng.bytes(2 * light.size), np.uint8).reshape(2, *light.shape)
    light += (raw.astype(np.int32).sum(0) - 255) * noise >> 7
    if outlier and rng.integers(2):
        light = light * 3 - 60
    elif outlier:
        hot = np.frombuffer(rng.bytes(light.size), np.uint8).reshape(light.shape)
        light = np.where(hot < 20, 255, np.where(hot > 235, 0, light))
    return np.clip(light, 0, 255).astype(np.uint8)


def _veil(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.int32]:
    """A bright disc that fades outwards, height x width, 0 to 255."""
    disc = 255 - np.asarray(Image.radial_gradient("L"), np.uint8)
    spread = int(rng.integers(120, 200)) * max(height, width) // 100
    disc = np.asarray(Image.fromarray(disc).resize((spread, spread), Image.Resampling.BILINEAR))
    top = int(rng.integers(0, spread - height + 1))
    left = int(rng.integers(0, spread - width + 1))
    return disc[top : top + height, left : left + width].astype(np.int32)
