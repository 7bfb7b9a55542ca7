"""What a system showed on a prefix of the images: enough to compare another one with it later.

A run keeps it beside its judged predictions (``bench.evaluation.judgement``), in the same file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.evaluation.estimate import Replicates
from bench.evaluation.judgement import opened_arrays

PREFIX = "look-"
"""How the names of these arrays begin."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A system's headline metric on a prefix of ``units`` units, and on half-samples of them.

    ``per_class`` are the images of a class, the mean over the classes, None for a classifier;
    ``least_error`` is the least standard error of a difference; ``truth`` is a hash of what it was
    judged against.
    """

    value: float
    halves: Replicates
    units: int
    per_class: float | None
    least_error: float
    truth: str


def pack_looks(looks: Mapping[str, Seen]) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays to store, by name, of looks by the key of their images."""
    arrays = {}
    for key, look in looks.items():
        fields = [
            ("value", np.float64),
            ("halves", np.float64, np.shape(look.halves)),
            ("units", np.int64),
            ("per_class", np.float64),
            ("least_error", np.float64),
            ("truth", "U20"),
        ]
        per_class = math.nan if look.per_class is None else look.per_class
        values = (look.value, look.halves, look.units, per_class, look.least_error, look.truth)
        arrays[PREFIX + key] = np.array(values, dtype=fields)
    return arrays


def load_looks(content: bytes, path: Path) -> dict[str, Seen]:
    """The looks in the content of a file, by the key of their images; none for a run without a
    race.

    Raises DataError for another kind of file.
    """
    with opened_arrays(content, path) as arrays:
        stored = {name: arrays[name][()] for name in arrays.files if name.startswith(PREFIX)}
        return {name.removeprefix(PREFIX): _look(one) for name, one in stored.items()}


def _look(stored: Any) -> Seen:
    per_class = float(stored["per_class"])
    return Seen(
        float(stored["value"]),
        stored["halves"],
        int(stored["units"]),
        None if math.isnan(per_class) else per_class,
        float(stored["least_error"]),
        str(stored["truth"]),
    )
