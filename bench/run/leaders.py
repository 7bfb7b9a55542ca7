"""The complete rows of a folder that a run may race against."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError
from bench.evaluation.looks import Seen, load_looks
from bench.results.folder import SweepFolder
from bench.results.loose import read_or_set_aside, read_run
from bench.results.row import Row
from bench.results.store import RowStore
from bench.sealed import warn

FIELD = (
    "model", "model_sha256", "dataset", "dataset_fingerprint", "engine", "engine_version",
    "engine_options", "threads", "batch_size", "accuracy_by", "metric", "n_images",
    "calibration_seed", "measured_on",
)  # fmt: skip
"""Rows that agree in these race against each other: they were judged alike, and each calibration
set races on its own."""

PLAN = ("plan", "placement", "scheme", "weight_scales", "planned_mac_share", "qdq_bytes")
"""Rows that agree in these too run the same layers, equally fast."""

CONFIGURATION = (
    "calibrator", "calibrator_params", "calibration_size", "calibration_fingerprint",
    "calibration_preprocess", "calibration_pad", "calibration_strategy", "input_range",
)  # fmt: skip
"""Rows that agree in these and in the plan are one configuration."""


Traits = Mapping[str, object]
"""The values of a row, or of a run that has none yet, in the columns above."""


def alike(one: Traits, other: Traits, columns: tuple[str, ...]) -> bool:
    return _values(one, columns) == _values(other, columns)


def _values(traits: Traits, columns: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(traits[name] for name in columns)


@dataclass(frozen=True, eq=False)
class Leader:
    """A complete row, and what it showed after each look."""

    row: Row
    looks: Mapping[str, Seen]


class Leaders:
    """The rows under a sweep's folder. Each call of ``refresh`` reads what other processes wrote.

    Only the best row of each plan is held with its looks.
    """

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._read: dict[str, tuple[int, int]] = {}
        self._packed = False
        self._best: dict[tuple[object, ...], dict[tuple[object, ...], Leader]] = {}
        self._complete: dict[str, Row] = {}
        self._configurations: set[tuple[object, ...]] = set()
        self._keys: set[str] = set()

    def __len__(self) -> int:
        """The rows read so far, complete or not."""
        return len(self._read) + len(self._keys)

    def refresh(self) -> None:
        """Read the rows that are new."""
        for row in self._fresh():
            if row.status == "ok" and row.int8 is not None and not row.measured_on:
                self._add(row)

    def of(self, candidate: Traits, look: str) -> Iterator[tuple[Leader, bool]]:
        """The best row of the candidate's plan, and the best of all plans, that took this look;
        with each, whether it is of the candidate's plan. FP32 must be the same."""
        plans = self._best.get(_values(candidate, FIELD), {})
        own = plans.get(_values(candidate, PLAN))
        others = [one for one in plans.values() if look in one.looks]
        if own is not None and look in own.looks:
            yield own, True
        if others:
            yield max(others, key=lambda one: one.row.int8 or 0.0), False

    def has_complete(self, candidate: Traits) -> bool:
        """Whether another calibration set of the candidate's configuration is complete."""
        return _configuration(candidate) in self._configurations

    def complete(self, key: str) -> Row | None:
        """The complete row of this key."""
        return self._complete.get(key)

    def _add(self, row: Row) -> None:
        traits = row.to_json()
        self._complete[row.run_key] = row
        self._configurations.add(_configuration(traits))
        plans = self._best.setdefault(_values(traits, FIELD), {})
        plan = _values(traits, PLAN)
        if plan in plans and (plans[plan].row.int8 or 0.0) >= (row.int8 or 0.0):
            return
        if looks := self._looks(row.run_key):
            plans[plan] = Leader(row, looks)

    def _looks(self, key: str) -> Mapping[str, Seen]:
        path = SweepFolder(self._store.folder).judged(key)
        try:
            content = self._store.read_file("judged", key)
            return {} if content is None else load_looks(content, path)
        except DataError as error:
            warn(f"{error}. Nothing races against that run")
            return {}

    def _fresh(self) -> Iterator[Row]:
        if not self._packed:
            self._packed = True
            packed = self._store.packs.rows()
            self._keys = {row.run_key for row in packed}
            yield from packed
        for path, state in _row_files(SweepFolder(self._store.folder).rows):
            if self._read.get(path.name) != state:
                self._read[path.name] = state
                run = read_or_set_aside(path, read_run)
                if run is not None:
                    yield run.row


def _configuration(traits: Traits) -> tuple[object, ...]:
    """Without the calibration set and the number of images: a raced row saw a part of them."""
    field = (name for name in FIELD if name not in ("calibration_seed", "n_images"))
    return _values(traits, (*field, *PLAN, *CONFIGURATION))


def _row_files(folder: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Each row's file, and a pair that changes when it is written again."""
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                if entry.name.endswith(".json"):
                    known = entry.stat()
                    yield Path(entry.path), (known.st_mtime_ns, known.st_ino)
    except FileNotFoundError:
        return
