"""Which rows of a sweep go into a kit, in which order they are measured, and their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from bench.calibration.trt_cache import from_ranges
from bench.deploy.artefact import make_artefact
from bench.deploy.bundle import CACHE_ALGORITHM, CACHE_VERSION
from bench.errors import ConfigError, DataError
from bench.quantization.plan import IMPLICIT
from bench.report.wording import calibrator_label, plural
from bench.results.row import Row
from bench.results.store import RowStore
from bench.run.spec import Run

ALIKE = {
    "model_sha256": "models",
    "dataset_fingerprint": "sets of validation images",
    "n_images": "numbers of validation images",
    "batch_size": "batch sizes",
    "metric": "metrics",
}
"""What rows of one kit have in common."""


def choose_rows(folder: Path, keys: Sequence[str], model: str | None) -> list[Row]:
    """The measured rows of a sweep, or those of these keys, in the order of their worth.

    Raises DataError where there are none, ConfigError for rows that no one kit can hold.
    """
    measured = {row.run_key: row for row in RowStore(folder).rows() if _fits(row)}
    if lost := [key for key in keys if key not in measured]:
        raise DataError(
            f"{folder} has no run {lost[0]} that a kit can hold",
            "Choose one with status ok, an accuracy, scheme=symmetric, measured here, and not a "
            "serialized engine",
        )
    rows = [row for key, row in measured.items() if key in keys or not keys]
    rows = [row for row in rows if model is None or row.model == model]
    if not rows:
        raise DataError(f"{folder} has no measured runs for a kit", "Name a finished sweep")
    for column, what in ALIKE.items():
        if len({getattr(row, column) for row in rows}) > 1:
            raise ConfigError(
                f"these rows are of several {what}, and a kit holds one",
                "Choose with --model NAME, or name rows with --run KEY",
            )
    return by_worth(_once(rows))


def _fits(row: Row) -> bool:
    return (
        row.status == "ok"
        and row.int8 is not None
        and row.scheme == "symmetric"
        and not row.measured_on
        and not row.calibrator.startswith("tensorrt_")
        and row.accuracy_by != "serialized engine"
    )


def _once(rows: Sequence[Row]) -> list[Row]:
    """Of rows that quantize the same in several engines, the first."""
    seen: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        axes = (
            row.calibrator, row.calibrator_params, row.calibration_size, row.calibration_seed,
            row.calibration_fingerprint, row.calibration_preprocess, row.calibration_pad,
            row.calibration_strategy, row.input_range, row.plan, row.placement, row.weight_scales,
        )  # fmt: skip
        seen.setdefault(axes, row)
    return list(seen.values())


def by_worth(rows: Sequence[Row]) -> list[Row]:
    """The best row first, then the best of each other calibrator, then of each other plan, and all
    others by their loss: whenever a target is stopped, it has seen what differs most."""
    rest = sorted(rows, key=lambda row: (-(row.delta or 0.0), row.run_key))
    ordered: list[Row] = []
    for axis in ("calibrator", "plan"):
        for row in list(rest):
            if getattr(row, axis) not in {getattr(one, axis) for one in ordered}:
                ordered.append(row)
                rest.remove(row)
    return [*ordered, *rest]


def label_of(row: Row) -> str:
    """What the target's progress calls a row."""
    name = row.calibrator
    if name == "percentile":
        name = calibrator_label(name, row.calibrator_params)
    images = plural(row.calibration_size, "image")
    placed = "" if row.placement == "explicit" else f", {row.placement}"
    return f"INT8 {name}, {images}, seed {row.calibration_seed}, {row.plan}{placed}"


@dataclass
class KitRow:
    """A row with its run, made again, and what a target needs of it.

    Its files are made when they are asked for, and not held: a kit may have many rows.
    """

    row: Row
    run: Run
    folder: Path
    ranges: Mapping[str, float] = field(default_factory=dict)
    """Of every activation, tensor -> amax; known once its Q/DQ file was made."""
    in_float: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What its plan keeps in float, node -> its outputs; known likewise."""

    def make_qdq(self) -> onnx.ModelProto:
        """Its Q/DQ file, with the run's batch."""
        artefact = make_artefact(self.run, self.folder)
        self.ranges, self.in_float = artefact.ranges, artefact.float_layers
        return artefact.qdq

    @property
    def implicit(self) -> bool:
        return self.row.placement in IMPLICIT

    @property
    def products(self) -> frozenset[str]:
        """The convolutions and matrix products that it quantizes."""
        return frozenset(self.run.graph.compute) - self.in_float.keys()

    @property
    def cache(self) -> bytes:
        """Its ranges as a calibration cache; a target writes its version into the first line."""
        return from_ranges(self.ranges, CACHE_VERSION, CACHE_ALGORITHM).to_bytes()
