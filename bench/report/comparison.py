"""Two sweeps side by side: which configurations changed, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.claims.judgements import FP32_CHANGED, Judgements, Record, records_of
from bench.errors import DataError
from bench.evaluation.estimate import Interval
from bench.evaluation.interval import bonferroni
from bench.report.wording import interval, known, plural, signed, tidy
from bench.results.row import columns_with
from bench.results.table import read_table

WIDTH = 110

Kind = Literal["worse", "better", "open", "same"]
_MEANING: Mapping[Kind, str] = {
    "worse": "proven worse",
    "better": "proven better",
    "open": "no change is proven",
    "same": "the same value",
}


@dataclass(frozen=True)
class Change:
    """One configuration in both sweeps: INT8 in each, and the second minus the first.

    Where FP32 changed, ``change`` is that of the loss. ``faster`` is the second's latency over the
    first's, below 1 if it is faster; None where they were not timed on the same machine.
    """

    name: str
    first: float
    second: float
    change: Interval
    kind: Kind
    fp32_changed: bool
    faster: float | None


@dataclass(frozen=True)
class Comparison:
    """The configurations of both sweeps, the largest loss first, and those of only one sweep."""

    metric: str
    changes: tuple[Change, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind == "worse")


def compare_folders(first: Path, second: Path) -> Comparison:
    """Compare measured rows with the same axes.

    The intervals hold for all configurations at once (Bonferroni). Raises DataError where the
    sweeps have no configuration in common.
    """
    one, two = (_rows(folder) for folder in (first, second))
    both = [axes for axes in one if axes in two]
    if not both:
        raise DataError(
            f"{first} and {second} have no measured configuration in common",
            "Compare two sweeps with the same model, dataset, calibrators, sizes, seeds and plans",
        )
    judged = Judgements(first), Judgements(second)
    changes = [_change(one[axes], two[axes], judged, len(both)) for axes in both]
    return Comparison(
        str(one[both[0]]["metric"]),
        tuple(sorted(changes, key=lambda change: change.change.estimate)),
        tuple(_name(row) for axes, row in one.items() if axes not in two),
        tuple(_name(row) for axes, row in two.items() if axes not in one),
    )


def _rows(folder: Path) -> dict[tuple[str, ...], Record]:
    """The measured rows by configuration and seed."""
    table = read_table(folder)
    measured = tidy(table[table["status"] == "ok"])
    columns = [name for name in columns_with("axis") if name != "engine_options"]
    return {tuple(str(row[name]) for name in columns): row for row in records_of(measured)}


def _change(
    first: Record, second: Record, judged: tuple[Judgements, Judgements], count: int
) -> Change:
    difference = judged[1].against(second, judged[0], first)
    wide = bonferroni(count, difference.uncertainty.freedom)
    change = difference.uncertainty.interval(difference.value, widen=wide)
    return Change(
        _name(first),
        float(first["int8"]),
        float(second["int8"]),
        change,
        _kind(change),
        abs(float(first["fp32"]) - float(second["fp32"])) >= FP32_CHANGED,
        _ratio(first, second),
    )


def _kind(change: Interval) -> Kind:
    """An interval that is not known proves nothing."""
    if change.estimate == 0:
        return "same"
    if change.high < 0:
        return "worse"
    return "better" if change.low > 0 else "open"


def _ratio(first: Record, second: Record) -> float | None:
    """Ratio of the INT8 latencies, if both were timed alone on hardware of one description."""
    one, two = (known(row["int8_latency_p50_ms"]) for row in (first, second))
    same = first["hardware"] == second["hardware"] and first["threads"] == second["threads"]
    alone = {str(first["timing"]), str(second["timing"])} <= {"alone"}
    return two / one if one and two and same and alone else None


def _name(row: Record) -> str:
    parts = [
        str(row["model"]), str(row["calibrator_label"]), f"{row['calibration_size']} images",
        f"seed {row['calibration_seed']}", str(row["plan_label"]), str(row["engine"]),
    ]  # fmt: skip
    return ", ".join(parts)


def print_comparison(comparison: Comparison, console: Console, everything: bool) -> None:
    """Print what changed (``everything``: all configurations), then the counts."""
    changes = comparison.changes
    shown = [one for one in changes if everything or one.kind in ("worse", "better")]
    wide = Console(file=console.file, width=max(console.width, WIDTH))
    if shown:
        wide.print(_table(comparison.metric, shown))
    counts = {kind: sum(one.kind == kind for one in changes) for kind in _MEANING}
    said = [f"{counts[kind]} {_MEANING[kind]}" for kind in _MEANING if counts[kind]]
    wide.print(Text(f"{plural(len(changes), 'configuration')} in both: {', '.join(said)}."))
    if any(one.fp32_changed for one in changes):
        wide.print(Text("FP32 itself changed, so the losses against FP32 are compared.", "yellow"))
    for names, which in ((comparison.only_first, "first"), (comparison.only_second, "second")):
        if names:
            wide.print(Text(f"Only in the {which}: {'; '.join(names[:5])}{_more(names)}."))


def _table(metric: str, changes: Sequence[Change]) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("configuration", overflow="fold")
    for head in (f"{metric} first", "second", "change (95 %)", "latency"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for one in changes:
        ends = interval(one.change.low, one.change.high)
        faster = "" if one.faster is None or math.isnan(one.faster) else f"{one.faster:.2f}x"
        table.add_row(
            one.name, f"{one.first:.3f}", f"{one.second:.3f}",
            f"{signed(one.change.estimate)} ({ends})", faster, _MEANING[one.kind],
        )  # fmt: skip
    return table


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
