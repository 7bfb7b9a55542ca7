"""Fitted images in a few files, packed without loss: a target needs zlib and NumPy to read them.

Originals would be smaller, but fitting them there takes OpenCV, and other versions of it on other
processors give other pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_BYTES = 48 << 20
"""Of one file: some ways to a target take no larger ones than 64 MiB."""


def pack_pixels(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(height, width, 3) RGB; ``bench.deploy.runner.files.unpack_pixels`` gives them back.

    Differences along both axes, of green and of what red and blue are more than green: 422 kB a
    COCO image letterboxed to 640, where PNG takes 463 (mean of 12).
    """
    planes = pixels.transpose(2, 0, 1).copy()
    planes[0] -= planes[1]
    planes[2] -= planes[1]
    rows = np.diff(planes, axis=2, prepend=np.uint8(0))
    return zlib.compress(np.diff(rows, axis=1, prepend=np.uint8(0)).tobytes(), 6)


def write_images(
    folder: Path, which: str, images: Iterable[npt.NDArray[np.uint8]]
) -> list[dict[str, Any]]:
    """Write ``images/WHICH-N.bin`` under ``folder``; where each image lies, in order."""
    listed: list[dict[str, Any]] = []
    (folder / "images").mkdir(exist_ok=True)
    number = at = 0
    for pixels in images:
        packed = pack_pixels(pixels)
        if at and at + len(packed) > MOST_BYTES:
            number, at = number + 1, 0
        name = f"images/{which}-{number}.bin"
        with (folder / name).open("ab") as file:
            file.write(packed)
        listed.append(
            {"file": name, "offset": at, "bytes": len(packed), "crc32": zlib.crc32(packed)}
        )
        at += len(packed)
    return listed
