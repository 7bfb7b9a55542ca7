"""What was right, image by image: all that comparing two runs needs, without images or labels.

Predictions alone cannot be compared later, since their ground truth lies with the dataset. So each
run also keeps what its predictions were judged to be: which detections matched what, or which
images were classified rightly.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.errors import DataError
from bench.evaluation.bootstrap import Replicates
from bench.evaluation.matches import MatchTable

Judgement = MatchTable | npt.NDArray[np.bool_]
"""Of a detector its matches; of a classifier ``correct`` (n_images,) bool."""


def truth_of(judged: Judgement) -> str:
    """A hash of the ground truth, as far as the judgement shows it: equal for the same images."""
    if isinstance(judged, MatchTable):
        return content_key(judged.positives.shape, judged.positives.tobytes())
    return content_key(judged.shape)


def pack_judgement(judged: Judgement, replicates: Replicates) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays to keep, by name; ``replicates`` are the headline metric's on every resample.

    These are kept beside what they were drawn from, since drawing them takes seconds a run.
    """
    known = {"replicates": replicates, "truth": np.array(truth_of(judged))}
    if isinstance(judged, MatchTable):
        return {**known, **{field.name: getattr(judged, field.name) for field in fields(judged)}}
    return {**known, "correct": judged}


@dataclass(frozen=True, eq=False)
class Resampled:
    """A run's headline metric on every resample, and a hash of what it was judged against."""

    replicates: Replicates
    truth: str


def load_resampled(path: Path) -> Resampled:
    """The kept replicates alone; raises DataError for a file of something else."""
    with _opened(path) as arrays:
        return Resampled(arrays["replicates"], str(arrays["truth"]))


def load_judgement(path: Path) -> Judgement:
    """What was judged; raises DataError for a file of something else."""
    with _opened(path) as arrays:
        if "correct" in arrays.files:
            correct: npt.NDArray[np.bool_] = arrays["correct"]
            return correct
        return MatchTable(**{field.name: arrays[field.name] for field in fields(MatchTable)})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} holds no judged predictions ({error})",
            "Delete it; claims then use the intervals in the table",
        ) from error
