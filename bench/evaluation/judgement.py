"""A run's metric on the half-samples of its images: enough to compare two runs without images or
labels.

Predictions alone cannot be compared later, since their ground truth lies with the dataset. So each
run also stores what they score on every half-sample, and FP32's on the same.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.errors import DataError
from bench.evaluation.estimate import Replicates
from bench.evaluation.matches import MatchTable
from bench.sealed import UNREADABLE_ARRAYS

Judgement = MatchTable | npt.NDArray[np.bool_]
"""Of a detector its matches; of a classifier ``correct`` (n_images,) bool."""


def truth_of(judged: Judgement) -> str:
    """A hash of the ground truth, as far as the judgement shows it: equal for the same images."""
    if isinstance(judged, MatchTable):
        return content_key(judged.positives.shape, judged.positives.tobytes())
    return content_key(judged.shape)


def pack_judgement(
    judged: Judgement, halves: Replicates, fp32: Replicates, least_error: float
) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays to store, by name; ``halves`` and ``fp32`` are the headline metric's on every
    half-sample, of the run and of FP32.

    What was right image by image is not stored: it takes 150 kB for a run on 400 images, and only
    these halves are read again. They are one array, since a sweep has thousands of such files.
    """
    fields = [
        ("halves", np.float64, np.shape(halves)),
        ("fp32_halves", np.float64, np.shape(fp32)),
        ("truth", "U20"),
        ("n_images", np.int64),
        ("least_error", np.float64),
    ]
    values = (halves, fp32, truth_of(judged), count_images(judged), least_error)
    return {"resampled": np.array(values, dtype=fields)}


def save_judgement(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write what ``pack_judgement`` gives as an npz file.

    Uncompressed: its numbers are random to any compressor, but for those that the runs of a model
    share, and these ``bench.results.packs`` finds.
    """
    save: Any = np.savez  # its stub takes every keyword for ``allow_pickle``
    save(file, **arrays)


def count_images(judged: Judgement) -> int:
    return judged.n_images if isinstance(judged, MatchTable) else len(judged)


@dataclass(frozen=True, eq=False)
class Resampled:
    """A run's headline metric on the half-samples of its images, FP32's on the same, and a hash of
    what they were judged against; ``least_error`` is the least standard error of a difference."""

    halves: Replicates
    fp32: Replicates
    truth: str
    n_images: int
    least_error: float


def load_resampled(content: bytes, path: Path) -> Resampled | None:
    """The half-samples in the content of a file; None for an older file without them.

    Raises DataError for another kind of file.
    """
    with opened_arrays(content, path) as arrays:
        if "resampled" in arrays.files:
            stored = arrays["resampled"][()]
        elif "halves" in arrays.files or "truth" not in arrays.files:
            stored = arrays
        else:
            return None
        count, least = int(stored["n_images"]), float(stored["least_error"])
        return Resampled(
            stored["halves"], stored["fp32_halves"], str(stored["truth"]), count, least
        )


@contextmanager
def opened_arrays(content: bytes, path: Path) -> Iterator[Any]:
    """The arrays of a stored judgement, by name; DataError for another kind of file, also where one
    of them cannot be read."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            yield arrays
    except (IndexError, *UNREADABLE_ARRAYS) as error:
        raise DataError(f"{path} holds no judged predictions ({error})") from error
