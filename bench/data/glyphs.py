"""The ten glyphs of the embedded ``shapes`` dataset, as anti-aliased masks.

A glyph is an outline in the unit square centred on the origin (x to the right, y down), with an
optional second outline that is cut out of the first. Vertices are rounded to the supersampled grid
before anything is filled, so that the last bit of a sine cannot change a pixel.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Point = tuple[float, float]
Outline = tuple[Point, ...]

SUPERSAMPLING = 4


def _ellipse(cx: float, cy: float, radius: float, steps: int = 48) -> Outline:
    angles = (2 * math.pi * i / steps for i in range(steps))
    return tuple((cx + radius * math.cos(a), cy + radius * math.sin(a)) for a in angles)


def _regular(corners: int, inner: float = 1.0) -> Outline:
    """A regular polygon, or a star when every second corner lies at ``inner`` times the radius."""
    count = corners if inner == 1.0 else 2 * corners
    radii = (0.5 if i % 2 == 0 or inner == 1.0 else 0.5 * inner for i in range(count))
    turns = (2 * math.pi * i / count - math.pi / 2 for i in range(count))
    return tuple((r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, turns, strict=True))


def _heart(steps: int = 48) -> Outline:
    points = []
    for i in range(steps):
        t = 2 * math.pi * i / steps
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 34, -(y + 2.5) / 34))
    return tuple(points)


_CROSS: Outline = (
    (-0.17, -0.5), (0.17, -0.5), (0.17, -0.17), (0.5, -0.17), (0.5, 0.17), (0.17, 0.17),
    (0.17, 0.5), (-0.17, 0.5), (-0.17, 0.17), (-0.5, 0.17), (-0.5, -0.17), (-0.17, -0.17),
)  # fmt: skip
_ARROW: Outline = (
    (0.0, -0.5), (0.45, 0.0), (0.18, 0.0), (0.18, 0.5), (-0.18, 0.5), (-0.18, 0.0), (-0.45, 0.0),
)  # fmt: skip

GLYPHS: dict[str, tuple[Outline, Outline | None]] = {
    "circle": (_ellipse(0, 0, 0.5), None),
    "square": (((-0.42, -0.42), (0.42, -0.42), (0.42, 0.42), (-0.42, 0.42)), None),
    "triangle": (_regular(3), None),
    "star": (_regular(5, inner=0.42), None),
    "cross": (_CROSS, None),
    "ring": (_ellipse(0, 0, 0.5), _ellipse(0, 0, 0.27)),
    "arrow": (_ARROW, None),
    "heart": (_heart(), None),
    "hexagon": (_regular(6), None),
    "crescent": (_ellipse(0, 0, 0.5), _ellipse(0.24, 0, 0.4)),
}
"""Class name -> (outline, hole); the order is the class index."""


def glyph_mask(name: str, size: int, degrees: float, stretch: float) -> npt.NDArray[np.uint8]:
    """Coverage of one glyph: a square uint8 array (0 outside, 255 inside), cropped to the glyph.

    ``size`` is the diameter of the unit square in pixels, ``stretch`` the ratio of the glyph's
    width to its height before it is turned by ``degrees``.
    """
    side = (int(size * 1.5) + 2) * SUPERSAMPLING
    angle = math.radians(degrees)
    cos, sin, wide = math.cos(angle), math.sin(angle), math.sqrt(stretch)

    def place(outline: Outline) -> list[Point]:
        placed = []
        for x, y in outline:
            x, y = x * wide, y / wide
            across, down = x * cos - y * sin, x * sin + y * cos
            placed.append(
                (
                    float(round(side / 2 + across * size * SUPERSAMPLING)),
                    float(round(side / 2 + down * size * SUPERSAMPLING)),
                )
            )
        return placed

    canvas = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(canvas)
    outline, hole = GLYPHS[name]
    draw.polygon(place(outline), fill=255)
    if hole is not None:
        draw.polygon(place(hole), fill=0)
    mask = np.asarray(canvas.reduce(SUPERSAMPLING))
    rows, columns = np.flatnonzero(mask.max(1)), np.flatnonzero(mask.max(0))
    return np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
