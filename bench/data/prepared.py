"""Images decoded and fitted once, kept on disk, shared by every run that reads them."""

from __future__ import annotations

import math
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
from bench.data.preprocess import Fitting, Preprocess
from bench.environment import versions

_CODE = source_key("bench.data")
"""That this process runs: what is edited meanwhile concerns the next one."""


@dataclass(frozen=True)
class PreparedImages:
    """``pixels`` N x height x width x 3 uint8 (memory-mapped), and where each picture lies.

    ``key`` tells them apart from all others.
    """

    pixels: npt.NDArray[np.uint8]
    fittings: tuple[Fitting, ...]
    preprocess: Preprocess
    key: str

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, start: int, size: int) -> npt.NDArray[np.float32]:
        """Images ``start`` to ``start + size`` as network input, size x 3 x height x width float32.

        Behind the last image the batch is filled up with copies of it.
        """
        rows = np.minimum(np.arange(start, start + size), len(self.pixels) - 1)
        return self.preprocess.normalise(np.asarray(self.pixels[rows]))

    def first(self, count: int) -> PreparedImages:
        """The first ``count`` of them."""
        key = content_key(self.key, count)
        return replace(self, pixels=self.pixels[:count], fittings=self.fittings[:count], key=key)


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

    def compute() -> Callable[[BinaryIO], None]:
        def fit(index: int) -> tuple[npt.NDArray[np.uint8], Fitting]:
            return preprocess.place(samples.image(index))

        def write(file: BinaryIO) -> None:
            shape = (len(order), *preprocess.size, 3)
            np.lib.format.write_array_header_1_0(  # type: ignore[no-untyped-call]
                file, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
            fittings = []
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for image, fitting in pool.map(fit, order):  # written as they come, never all held
                    file.write(np.ascontiguousarray(image).tobytes())
                    fittings.append(astuple(fitting))
            np.save(file, np.array(fittings, np.float64))

        return write

    def load(path: Path) -> PreparedImages:
        with path.open("rb") as file:
            shape, offset = _array_header(file)
            file.seek(offset + math.prod(shape))
            table = np.load(file)
        pixels = np.memmap(path, np.uint8, "r", offset, shape)
        fittings = tuple(
            Fitting(sx, sy, left, top, int(width), int(height))
            for sx, sy, left, top, width, height in table.tolist()
        )
        return PreparedImages(pixels, fittings, preprocess, key)

    return cached(folder / f"pixels-{key}.npy", load, compute)


def _array_header(file: BinaryIO) -> tuple[tuple[int, ...], int]:
    """Shape and offset of the npy array that starts here, so that it can be mapped in place."""
    np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    shape, _, _ = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
    return shape, file.tell()
