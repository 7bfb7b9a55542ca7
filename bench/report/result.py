"""One measured configuration in a report: its difference to FP32, how certain, how fast.

A configuration is every setting except the calibration seed: one run for each calibration set.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bench.claims.judgements import Difference as MeanDifference
from bench.claims.judgements import Judgements, Record, records_of
from bench.evaluation.estimate import Interval
from bench.report.reproduce import typed_words
from bench.report.seeds import SeedSpread, seed_spread
from bench.report.wording import SAME_SPEED, SERIALIZED, interval, known, plural
from bench.results.folder import SweepFolder
from bench.results.row import columns_with


@dataclass(frozen=True)
class Difference:
    """A difference from FP32 with its 95 % interval, and in words."""

    difference: Interval

    @property
    def delta(self) -> float:
        return self.difference.estimate

    @property
    def change(self) -> str:
        """The difference in words: "loses 0.004"."""
        amount = f"{abs(self.delta):.3f}"
        return (
            f"{'gains' if self.delta > 0 else 'loses'} {amount}"
            if float(amount)
            else "no change in"
        )

    @property
    def interval(self) -> str:
        return interval(*self.difference.ends)


@dataclass(frozen=True)
class Half(Difference):
    """The same engine in FP16; ``speedup`` is that of INT8 over it."""

    value: float
    speedup: float | None

    @property
    def pays(self) -> str:
        """What INT8 gains over FP16, in words."""
        if self.speedup is None:
            return "no latency was measured"
        if self.speedup >= SAME_SPEED:
            return f"INT8 is {self.speedup:.2f}x as fast"
        return f"INT8 is not faster ({self.speedup:.2f}x)"


@dataclass(frozen=True)
class Kernels(Difference):
    """What the engine's int8 kernels reach on this processor, where the accuracy is computed from
    the Q/DQ file."""

    value: float


@dataclass(frozen=True)
class Result(Difference):
    """One configuration, as the answer speaks of it.

    Its accuracy is the mean of ``sets`` calibration sets, each a row of ``rows``. ``run_key`` and
    its files belong to the run with the lowest seed: choosing a seed by its accuracy would bias the
    result. ``exact`` is the difference with its uncertainty.
    """

    run_key: str
    calibrator_label: str
    plan_label: str
    size: int
    fp32: float | None
    int8: float | None
    latency_ms: float | None
    speedup: float | None
    timed_runs: int
    latency_note: str
    rows: tuple[Record, ...] = field(repr=False, compare=False)
    exact: MeanDifference = field(repr=False, compare=False)
    overrides: str = ""
    files: tuple[str, ...] = ()
    spread: SeedSpread | None = None
    fp16: Half | None = None
    kernels: Kernels | None = None

    @property
    def sets(self) -> int:
        return len(self.rows)

    @property
    def run_keys(self) -> tuple[str, ...]:
        return tuple(str(row["run_key"]) for row in self.rows)

    @property
    def name(self) -> str:
        images = plural(self.size, "calibration image")
        return f"{self.calibrator_label}, {images}, plan {self.plan_label}"

    @property
    def relative(self) -> float | None:
        """The difference as a share of FP32; negative is a loss."""
        return self.delta / self.fp32 if self.fp32 else None

    @property
    def command(self) -> str:
        """The command that makes this run alone; "" where the typed overrides are unknown, and for
        a serialized engine: a row may come from a stranger, and loading an engine runs its code."""
        words = [] if self.serialized else typed_words(self.overrides)
        return shlex.join(["int8bench", *words]) if words else ""

    @property
    def serialized(self) -> bool:
        """Whether it is an engine that somebody else built."""
        return bool(self.rows[0]["accuracy_by"] == SERIALIZED)

    @property
    def speed(self) -> str:
        """The latency, and what it is the median of."""
        if self.latency_ms is None:
            return ""
        runs = "" if self.timed_runs == 1 else f" of {self.timed_runs} runs of this plan"
        return f"{self.latency_ms:.1f} ms per image, median{runs}"

    @property
    def verdict(self) -> str:
        """What the interval proves about the loss."""
        if not self.difference.known:
            return "no interval: the difference may be noise"
        if self.loses:
            return "the interval excludes zero: a real loss"
        if self.difference.low > 0:
            return "the interval excludes zero: a real gain"
        return "the interval includes zero: no loss is proven"

    @property
    def loses(self) -> bool:
        """Whether the interval proves a loss."""
        return self.difference.high < 0


CONFIGURATION = ("calibrator_label", "plan_label", "calibration_size", *columns_with("condition"))
"""Rows that agree in these columns differ only in their calibration seed."""


def read_results(rows: pd.DataFrame, judgements: Judgements) -> list[Result]:
    """Every configuration of the tidy, measured ``rows`` of one group, in their order."""
    records = dict(zip(rows.index, records_of(rows), strict=True))
    results = []
    for _, of_one in rows.groupby(list(CONFIGURATION), sort=False, dropna=False):
        by_seed = of_one.sort_values("calibration_seed", kind="stable")
        sets = by_seed.index[~by_seed["calibration_seed"].duplicated()]
        results.append(_read_result(by_seed, tuple(records[one] for one in sets), judgements))
    return results


def _read_result(rows: pd.DataFrame, records: tuple[Record, ...], judgements: Judgements) -> Result:
    """The result of the rows of one configuration; one record per calibration set, the lowest seed
    first."""
    row, exact = records[0], judgements.loss(records)
    return Result(
        run_key=str(row["run_key"]),
        calibrator_label=str(row["calibrator_label"]),
        plan_label=str(row["plan_label"]),
        size=int(row["calibration_size"]),
        fp32=known(row["fp32"]),
        int8=float(rows["int8"].mean()),
        difference=exact.uncertainty.interval(exact.value),
        latency_ms=known(row["int8_ms"]),
        speedup=known(row["int8_speedup"]),
        timed_runs=int(row["timed_runs"]),
        latency_note=str(row["latency_note"]),
        rows=records,
        exact=exact,
        overrides=str(row["overrides"]),
        files=_files(row),
        spread=seed_spread(rows),
        fp16=_half(row),
        kernels=_kernels(row),
    )


def _half(row: Record) -> Half | None:
    value, difference = known(row["fp16"]), _difference(row, "fp16")
    if value is None or difference is None:
        return None
    return Half(difference, value, known(row["speedup_fp16"]))


def _kernels(row: Record) -> Kernels | None:
    value, difference = known(row["kernels_int8"]), _difference(row, "kernels")
    return None if value is None or difference is None else Kernels(difference, value)


def _difference(row: Record, name: str) -> Interval | None:
    """The difference from FP32 in the row's columns that begin with ``name``."""
    if known(row[f"{name}_delta"]) is None:
        return None
    return Interval(*(float(row[f"{name}_{end}"]) for end in ("delta", "ci_low", "ci_high")))


def _files(row: Record) -> tuple[str, ...]:
    """The files of a run in the sweep's folder; an older sweep has no ranges or no layers."""
    folder, key = SweepFolder(Path()), str(row["run_key"])
    ranges = [folder.ranges(key)] * bool(row["statistics_key"])
    layers = [folder.layers(key)] * (known(row["planned_layers_in_float"]) is not None)
    return tuple(path.as_posix() for path in (folder.row(key), *ranges, *layers))
