"""Pictures of one size in a file, each with its checksum, which is looked at whenever it is read.

The file is not mapped: one that is cut off while it is mapped ends the process (SIGBUS). Nor is it
read as a whole when it is opened: it may be larger than the memory. It is an npy array, then a
table that says what belongs to every picture.
"""

from __future__ import annotations

import io
import os
import weakref
import zlib
from collections.abc import Callable
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from bench.sealed import DamagedError, seal, unseal, warn

Picture = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]


class StoredPixels:
    """``pixels[row]``: a picture as it was written; where it cannot be read, made again.

    It stays readable as long as this object lives, even if someone removes the file meanwhile.
    """

    def __init__(
        self, path: Path, handle: int, shape: Shape, sums: list[int], make: Callable[[int], Picture]
    ) -> None:
        self._path, self._handle, self._shape = path, handle, shape
        self._sums, self._make = sums, make
        self._offset = len(_header(len(sums), shape))
        self._said = False

    def __len__(self) -> int:
        return len(self._sums)

    def __getitem__(self, row: int) -> Picture:
        if not 0 <= row < len(self):
            raise IndexError(row)
        picture = np.empty(self._shape, np.uint8)
        with suppress(OSError):
            length = os.preadv(self._handle, [picture.data], self._offset + row * picture.nbytes)
            if length == picture.nbytes and zlib.crc32(picture.data) == self._sums[row]:
                return picture
        self._tell()
        return self._make(row)

    def _tell(self) -> None:
        """Say it once, and let the next process make the whole file again."""
        if not self._said:
            self._said = True
            warn(f"{self._path} is damaged. Its pictures are made again")
            with suppress(OSError):
                self._path.unlink()


class PixelWriter:
    """Writes ``count`` pictures of a shape one after the other, and what belongs to them.

    ``path`` is the name that the file is to get.
    """

    def __init__(self, file: BinaryIO, path: Path, count: int, shape: Shape) -> None:
        self._file, self._path, self._sums = file, path, list[int]()
        file.write(_header(count, shape))

    def add(self, picture: Picture) -> None:
        content = np.ascontiguousarray(picture)
        self._sums.append(zlib.crc32(content.data))
        self._file.write(content.data)

    def end(self, table: npt.NDArray[np.float64]) -> None:
        """``table`` (count, columns) says something else of each picture."""
        sums = np.array(self._sums, np.float64).reshape(-1, 1)
        buffer = io.BytesIO()
        np.save(buffer, np.hstack([table, sums]))
        self._file.write(seal(buffer.getvalue(), self._path))


def open_pixels(
    path: Path, count: int, shape: Shape, make: Callable[[int], Picture]
) -> tuple[StoredPixels, npt.NDArray[np.float64]]:
    """The pictures, and the table that was written with them; ``make`` makes one again.

    Raises DamagedError where header or table are not as they were written.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        header = _header(count, shape)
        if os.pread(handle, len(header), 0) != header:
            raise DamagedError(path, "its beginning differs")
        start = len(header) + count * prod(shape)
        rest = os.pread(handle, max(os.fstat(handle).st_size - start, 0), start)
        table = np.load(io.BytesIO(unseal(rest, path)))
        sums = table[:, -1].astype(np.int64).tolist()
        pixels = StoredPixels(path, handle, shape, sums, make)
    except BaseException:
        os.close(handle)
        raise
    weakref.finalize(pixels, os.close, handle)
    return pixels, table[:, :-1]


def _header(count: int, shape: Shape) -> bytes:
    """As NumPy writes it before an array of bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(  # type: ignore[no-untyped-call]
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    )
    return buffer.getvalue()
