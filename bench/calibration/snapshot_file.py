"""Snapshots of many tensors in one file: a few long arrays, since many short ones zip slowly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from bench.calibration.statistics import Snapshot

_SCALARS = ("name", "count", "exponent")
_PAIRS = ("range",)
_RAGGED = ("positive", "negative", "extremes")


def save_snapshots(file: BinaryIO, snapshots: Sequence[Snapshot], **more: npt.NDArray[Any]) -> None:
    """Write ``snapshots``, and ``more`` arrays beside them, as an ``.npz``."""
    columns = [snapshot.to_arrays() for snapshot in snapshots]
    content: dict[str, Any] = {
        key: np.array([column[key] for column in columns]) for key in (*_SCALARS, *_PAIRS)
    }
    for key in _RAGGED:
        arrays = [np.ascontiguousarray(column[key]) for column in columns]
        content[f"{key}/bytes"] = np.concatenate(
            [np.zeros(0, np.uint8), *(array.reshape(-1).view(np.uint8) for array in arrays)]
        )
        content[f"{key}/length"] = np.array([array.nbytes for array in arrays], np.int64)
        content[f"{key}/type"] = np.array([array.dtype.str for array in arrays], "U4")
    np.savez(file, **(content | more))


def load_snapshots(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Snapshot, ...]:
    """The snapshots in an opened file, bit for bit."""
    plain = {key: arrays[key] for key in (*_SCALARS, *_PAIRS)}
    ragged = {key: _pieces(arrays, key) for key in _RAGGED}
    return tuple(
        Snapshot.from_arrays(
            {key: values[index] for key, values in plain.items()}
            | {key: next(pieces) for key, pieces in ragged.items()}
        )
        for index in range(len(plain["name"]))
    )


def _pieces(arrays: Mapping[str, npt.NDArray[Any]], key: str) -> Iterator[npt.NDArray[Any]]:
    content, types = arrays[f"{key}/bytes"], arrays[f"{key}/type"]
    ends = np.cumsum(arrays[f"{key}/length"])
    for piece, kind in zip(np.split(content, ends), types, strict=False):
        values = np.frombuffer(piece.tobytes(), str(kind))
        yield values.reshape(-1, 2) if key == "extremes" else values
