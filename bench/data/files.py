"""Images that lie in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as Pil

from bench.cache import content_key
from bench.data.dataset import Image
from bench.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})


@dataclass(frozen=True)
class FileSamples:
    """Image files under one folder, in the order given."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image:
        path = self.path(index)
        with _readable(path), Pil.open(path) as picture:
            return np.asarray(picture.convert("RGB"))

    def path(self, index: int) -> Path:
        return self.root / self.names[index]

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of image ``index``, from the head of its file: no pixel is decoded."""
        path = self.path(index)
        with _readable(path):
            return _size(path, path.stat().st_mtime_ns)

    @property
    def fingerprint(self) -> str:
        """Names, sizes and times of change: cheap, and different after any usual edit or copy."""
        stats = (self.path(index).stat() for index in range(len(self)))
        facts = (f"{s.st_size}:{s.st_mtime_ns}" for s in stats)
        return content_key(*self.names, *facts)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SyntaxError, Pil.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as an image ({type(error).__name__})",
            "Remove or replace the file",
        ) from error


# Every run of a sweep makes its own dataset object; ``changed`` tells a file's versions apart.
@lru_cache(maxsize=1 << 17)
def _size(path: Path, changed: int) -> tuple[int, int]:
    with Pil.open(path) as picture:
        return picture.size


def read_text(path: Path, what: str, option: str) -> str:
    """The text of a file; ``what`` it is and the ``option`` it was set with are for the error."""
    if not path.is_file():
        raise DataError(f"{what} {path} does not exist", f"Check {option}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} {path} is no UTF-8 text", f"Check {option}") from error


def require_images(paths: Sequence[Path], listed_in: Path, option: str) -> None:
    """Raise DataError if an image that a file lists is not there, or if it lists none."""
    if not paths:
        raise DataError(f"{listed_in} lists no images", f"Check {option}")
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise DataError(
            f"{len(absent)} of the {len(paths)} images that {listed_in} lists are not there "
            f"(first: {absent[0]})",
            f"Check {option}",
        )


def list_images(folder: Path, option: str) -> FileSamples:
    """Every image under ``folder``, sorted by name; ``option`` is what the user set it with."""
    if not folder.is_dir():
        raise DataError(f"folder {folder} does not exist", f"Check {option}")
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not names:
        raise DataError(f"folder {folder} contains no image files", f"Check {option}")
    return FileSamples(folder, tuple(names))
