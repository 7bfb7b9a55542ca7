"""Images that lie in files, and which way up.

A camera that was held upright often stores its picture lying, with a mark (EXIF's Orientation) that
says how to turn it. What is right is what the annotations were made on, and tools differ:

* Ultralytics turns (OpenCV's reader obeys the mark, and so does ``exif_size`` in its utilities);
* torchvision (``ImageFolder``, ``CocoDetection``, ``VOCDetection``) and the MATLAB reader of VOC's
  development kit take the pixels as they are stored (but for TIFF, which Pillow always turns);
* COCO's annotations say each picture's width and height: these tell where turning swaps the two,
  and else its pixels count as stored (COCO's own pictures are not marked).

So each form of dataset says what it wants.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags
from PIL import Image as Pil

from bench.cache import content_key
from bench.data.contents import ContentHashes
from bench.data.dataset import Image
from bench.errors import DataError

Size = tuple[int, int]
"""Width and height."""

_TURNS = {
    2: Pil.Transpose.FLIP_LEFT_RIGHT, 3: Pil.Transpose.ROTATE_180,
    4: Pil.Transpose.FLIP_TOP_BOTTOM, 5: Pil.Transpose.TRANSPOSE, 6: Pil.Transpose.ROTATE_270,
    7: Pil.Transpose.TRANSVERSE, 8: Pil.Transpose.ROTATE_90,
}  # fmt: skip
"""What makes a picture of each orientation upright (EXIF 2.32, section 4.6.4.A).

``ImageOps.exif_transpose`` also writes the EXIF anew, and fails where something in it is odd.
"""
_SIDEWAYS = frozenset({5, 6, 7, 8})
"""The orientations in which width and height change places."""
_MIRRORED, _UPSIDE_DOWN = frozenset({2, 3, 7, 8}), frozenset({3, 4, 6, 7})
"""The orientations whose stored pictures have left and right exchanged, or top and bottom."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
"""What files of these names may hold. Pillow knows fifty more, some of which run other programs."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})


@dataclass(frozen=True)
class FileSamples:
    """Image files under one folder, in the order given.

    ``upright``: turn pictures as their EXIF says. ``sizes``: the width and height that annotations
    say (None: nothing), for those to be turned that have them only then. ``hashes`` tells what the
    files contain.
    """

    root: Path
    names: Sequence[str]
    upright: bool = False
    sizes: Sequence[Size | None] = ()
    hashes: ContentHashes = field(default=ContentHashes(), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image:
        path = self.path(index)
        with _readable(path), Pil.open(path, formats=FORMATS) as picture:
            _require_eight_bits(picture, path)
            orientation = _orientation(picture)
            pixels = picture.convert("RGB")
            if self._is_turned(index, picture.size, orientation):
                pixels = pixels.transpose(_TURNS[orientation])
            return np.asarray(pixels)

    def path(self, index: int) -> Path:
        return self.root / self.names[index]

    def size(self, index: int) -> Size:
        """Width and height of image ``index``, from the head of its file.

        (Of a PNG without EXIF there, Pillow decodes the pixels too: it may stand behind them.)
        """
        size, turn = self._head(index)
        return size[::-1] if turn in _SIDEWAYS else size

    def to_stored(self, index: int, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """``boxes`` (n, 4), x1 y1 x2 y2 in pixels of ``image(index)``, in pixels as it is stored.

        Raises DataError for a file that is no image.
        """
        (width, height), turn = self._head(index)
        x1, y1, x2, y2 = boxes.T[[1, 0, 3, 2]] if turn in _SIDEWAYS else boxes.T
        if turn in _MIRRORED:
            x1, x2 = width - x2, width - x1
        if turn in _UPSIDE_DOWN:
            y1, y2 = height - y2, height - y1
        return np.column_stack([x1, y1, x2, y2])

    @cached_property
    def contents(self) -> tuple[str, ...]:
        """The hash of every file's bytes, in order, as they are when this is first asked."""
        return self.hashes.of(self.root, self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Names under the folder and contents: a copy of the folder elsewhere has the same one."""
        names = (os.path.relpath(n, self.root) if Path(n).is_absolute() else n for n in self.names)
        return content_key(*names, *self.contents, self.upright, *self.sizes)

    def _head(self, index: int) -> tuple[Size, int]:
        """Width and height as stored, and the orientation that the image is turned for, or 1."""
        path = self.path(index)
        with _readable(path), Pil.open(path, formats=FORMATS) as picture:
            size, orientation = picture.size, _orientation(picture)
        return size, orientation if self._is_turned(index, size, orientation) else 1

    def _is_turned(self, index: int, size: Size, orientation: int) -> bool:
        if self.upright or not self.sizes:
            return self.upright and orientation != 1
        return orientation in _SIDEWAYS and size != self.sizes[index] == size[::-1]


def _require_eight_bits(picture: Pil.Image, path: Path) -> None:
    """Raise DataError for a picture whose values Pillow would cut off at 255: white nearly all."""
    if picture.mode.partition(";")[0] in ("I", "F"):
        raise DataError(
            f"{path} has more than 8 bits in a pixel (mode {picture.mode})",
            "Convert it to 8 bits, as the model was trained on",
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        raise DataError(
            f"{path} cannot be read as an image ({type(error).__name__})",
            "Remove or replace the file",
        ) from error


def _orientation(picture: Pil.Image) -> int:
    """EXIF's Orientation, 1 (as stored) to 8; 1 for none, and for EXIF that is no EXIF.

    1 for TIFF too: Pillow gives its size turned, and turns it as it decodes.
    """
    if picture.format == "TIFF":
        return 1
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return 1
    return found if found in range(1, 9) else 1


def read_text(path: Path, what: str, option: str) -> str:
    """The text of a file; ``what`` it is and the ``option`` it was set with are for the error."""
    require_file(path, what, option)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} {path} is not UTF-8 text", f"Check {option}") from error


def read_json(path: Path, what: str, option: str) -> Any:
    """What a JSON file says; DataError for what is no JSON, or nested past all reading."""
    require_file(path, what, option)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error})", f"Check {option}") from error


def require_file(path: Path, what: str, option: str) -> None:
    """Raise DataError unless there is such a file, and its name can be one."""
    if not exists(path):
        raise DataError(f"{what} {path} does not exist", f"Check {option}")


def exists(path: Path) -> bool:
    """Whether there is a file of this name; no file has a name that the system cannot write."""
    try:
        return path.is_file()
    except (ValueError, OSError):  # a zero byte, half a character, 300 characters
        return False


def require_images(paths: Sequence[Path], listed_in: Path, option: str) -> None:
    """Raise DataError if an image that a file lists is not there, or if it lists none."""
    if not paths:
        raise DataError(f"{listed_in} lists no images", f"Check {option}")
    absent = [path for path in paths if not exists(path)]
    if absent:
        raise DataError(
            f"{len(absent)} of the {len(paths)} images that {listed_in} lists do not exist "
            f"(first: {absent[0]})",
            f"Check {option}",
        )


def list_images(
    folder: Path, option: str, upright: bool = False, hashes: ContentHashes | None = None
) -> FileSamples:
    """Every image under ``folder``, sorted by name; ``option`` is what the user set it with."""
    if exists(folder):
        raise DataError(
            f"{folder} is a file, not a folder of images", f"Unpack it, and give {option}=FOLDER"
        )
    if not folder.is_dir():
        raise DataError(f"folder {folder} does not exist", f"Check {option}")
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not names:
        raise DataError(f"folder {folder} contains no image files", f"Check {option}")
    return FileSamples(folder, tuple(names), upright, hashes=hashes or ContentHashes())
