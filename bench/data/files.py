"""Images that lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
        path = self.root / self.names[index]
        try:
            with Pil.open(path) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Pil.DecompressionBombError) as error:
            raise DataError(
                f"{path} cannot be read as an image ({type(error).__name__})",
                "Remove or replace the file",
            ) from error

    @property
    def fingerprint(self) -> str:
        """Names, sizes and times of change: cheap, and different after any usual edit or copy."""
        stats = ((self.root / name).stat() for name in self.names)
        facts = (f"{s.st_size}:{s.st_mtime_ns}" for s in stats)
        return content_key(*self.names, *facts)


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
