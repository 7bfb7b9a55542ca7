"""Images decoded and fitted once, kept on disk, shared by every run that reads them."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from bench.cache import cached, content_key, source_key
from bench.data.dataset import Samples
from bench.data.pixel_file import PixelWriter, StoredPixels, open_pixels
from bench.data.preprocess import Fitting, Preprocess
from bench.environment import versions

_CODE = source_key("bench.data")
"""That this process runs: what is edited meanwhile concerns the next one."""


@dataclass(frozen=True)
class PreparedImages:
    """``pixels`` N x height x width x 3 uint8, and where each picture lies.

    ``key`` tells them apart from all others.
    """

    pixels: StoredPixels
    fittings: tuple[Fitting, ...]
    preprocess: Preprocess
    key: str

    def __len__(self) -> int:
        return len(self.fittings)

    def batch(self, start: int, size: int) -> npt.NDArray[np.float32]:
        """Images ``start`` to ``start + size`` as network input, size x 3 x height x width float32.

        Behind the last image the batch is filled up with copies of it.
        """
        rows = [min(row, len(self) - 1) for row in range(start, start + size)]
        return self.preprocess.normalise(np.stack([self.pixels[row] for row in rows]))

    def first(self, count: int) -> PreparedImages:
        """The first ``count`` of them."""
        key = content_key(self.key, count)
        return replace(self, fittings=self.fittings[:count], key=key)


def pixel_makers() -> str:
    """A key of what makes pixels of files and drawings: our code, the libraries, the architecture.

    All of it computes in integers, or rounds to them: no instruction set of x86 changed a pixel
    (OpenCV 5.0 and NumPy 2.2, with and without AVX2 and AVX-512). Others have other resizing.
    """
    return content_key(_CODE, versions("numpy", "cv2", "PIL"), platform.machine())


def network_input(samples: Samples, number: int, preprocess: Preprocess) -> npt.NDArray[np.float32]:
    """Image ``number`` as the network takes it: (1, 3, height, width)."""
    fitted, _ = preprocess.place(samples.image(number), seed=number)
    return preprocess.normalise(fitted[None])


def prepare(
    samples: Samples,
    fingerprint: str,
    order: Sequence[int],
    preprocess: Preprocess,
    folder: Path,
) -> PreparedImages:
    """Fit the images ``order`` of ``samples``; ``fingerprint`` tells the dataset's content apart.

    Raises DataError for a file that is no image; nothing is kept then.
    """
    key = content_key(
        fingerprint, ",".join(map(str, order)), preprocess.size, preprocess.fit, preprocess.pad,
        preprocess.resize, preprocess.interpolation, pixel_makers(),
    )  # fmt: skip
    shape, path = (*preprocess.size, 3), folder / f"pixels-{key}.npy"

    def fit(index: int) -> tuple[npt.NDArray[np.uint8], Fitting]:
        return preprocess.place(samples.image(index))

    def compute() -> Callable[[BinaryIO], None]:
        def write(file: BinaryIO) -> None:
            pictures = PixelWriter(file, path, len(order), shape)
            fittings = []
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for image, fitting in pool.map(fit, order):  # written as they come, never all held
                    pictures.add(image)
                    fittings.append(astuple(fitting))
            pictures.end(np.array(fittings, np.float64))

        return write

    def load(path: Path) -> PreparedImages:
        pixels, table = open_pixels(path, len(order), shape, lambda row: fit(order[row])[0])
        fittings = tuple(
            Fitting(sx, sy, left, top, int(width), int(height))
            for sx, sy, left, top, width, height in table.tolist()
        )
        return PreparedImages(pixels, fittings, preprocess, key)

    return cached(path, load, compute)
