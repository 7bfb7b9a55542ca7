"""What was right, image by image: all that comparing two runs needs, without images or labels.

Predictions alone cannot be compared later, since their ground truth lies with the dataset. So each
run also keeps what its predictions were judged to be: which detections matched what, or which
images were classified rightly.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

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
    """The arrays to keep, by name; ``halves`` and ``fp32`` are the headline metric's on every
    half-sample, of the run and of FP32.

    These are kept beside what they were computed from, since that takes a second a run.
    """
    known = {
        "halves": halves,
        "fp32_halves": fp32,
        "truth": np.array(truth_of(judged)),
        "n_images": np.array(count_images(judged)),
        "least_error": np.array(least_error),
    }
    if isinstance(judged, MatchTable):
        return {**known, **{field.name: getattr(judged, field.name) for field in fields(judged)}}
    return {**known, "correct": judged}


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
    """The half-samples alone in the content of a file; None for one from before there were any.

    Raises DataError for something else.
    """
    with _opened(content, path) as arrays:
        if "halves" not in arrays.files and "truth" in arrays.files:
            return None
        count, least = int(arrays["n_images"]), float(arrays["least_error"])
        return Resampled(
            arrays["halves"], arrays["fp32_halves"], str(arrays["truth"]), count, least
        )


@contextmanager
def _opened(content: bytes, path: Path) -> Iterator[Any]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            yield arrays
    except UNREADABLE_ARRAYS as error:
        raise DataError(f"{path} holds no judged predictions ({error})") from error
