"""Files of other tools compared with our best run: the difference, and where ranges differ."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cache import write_atomically
from bench.claims.judgements import Judgements, Record, records_of
from bench.evaluation.estimate import Interval
from bench.report.wording import MISSING, SERIALIZED, interval, known, plain, signed
from bench.results.folder import SweepFolder
from bench.results.histograms import HistogramStore
from bench.results.store import RowStore

INT8_MAX = 127

WIDTH = 130
"""Characters of the table's lines, where the terminal is narrower."""

SAME_SHARE = 0.001
"""Of the multiply-accumulates."""

COARSE_STEP = 0.1
"""Scores lie between 0 and 1: coarser steps leave at most ten values."""


@dataclass(frozen=True)
class ComparedRange:
    """One tensor's amax in a file and in our best run, and the largest |x| of calibration, in the
    tensor's unit; None where there is no range."""

    tensor: str
    theirs: float | None
    ours: float | None
    seen: float | None

    @property
    def ratio(self) -> float | None:
        return self.theirs / self.ours if self.theirs and self.ours else None


@dataclass(frozen=True)
class JudgedFile:
    """``loss`` is INT8 minus FP32, ``behind`` the file's INT8 minus that of ``best``, on the same
    images; None where nothing was measured. ``best`` names our most accurate row with as much in
    INT8 as the file, of all our rows if there is none; "" without rows of ours."""

    label: str
    int8: float | None
    loss: Interval | None
    mac_share: float | None
    best: str
    best_int8: float | None
    behind: Interval | None
    ranges: tuple[ComparedRange, ...]
    path: Path | None
    note: str = ""
    """An obvious cause of the loss, or what else is known of a serialized engine."""


@dataclass(frozen=True)
class Comparison:
    """The files, in the order in which they were given."""

    metric: str
    files: tuple[JudgedFile, ...]

    @property
    def compared(self) -> bool:
        """Whether there are rows of ours."""
        return any(file.best for file in self.files)


def judge_files(
    folder: Path, judged: Sequence[str], ours: Sequence[str], outputs: Sequence[str]
) -> Comparison:
    """Compare the rows of files with the best row of ``ours`` (run keys, in the folder's table).
    Also write how their ranges differ. ``outputs`` are the network's outputs."""
    table = RowStore(folder).table()
    rows = {str(row["run_key"]): row for row in records_of(table)}
    measured = [rows[key] for key in ours if rows[key]["status"] == "ok"]
    judgements, store = Judgements(folder), HistogramStore(folder)
    files = tuple(
        replace(
            _judge(rows[key], _best_for(rows[key], measured), judgements, store, folder),
            note=_serialized(rows[key]) or _coarse_output(rows[key], outputs, store),
        )
        for key in judged
    )
    return Comparison(str(table["metric"].iloc[0]), files)


def _best_for(row: Record, ours: Sequence[Record]) -> Record | None:
    """Our most accurate row with as much in INT8 as the file has; of all, if none has."""
    wanted = _share(row) or 0.0
    alike = [one for one in ours if (known(one["planned_mac_share"]) or 0.0) >= wanted - SAME_SHARE]
    return max(alike or ours, key=lambda one: float(one["int8"]), default=None)


def _share(row: Record) -> float | None:
    """What is in INT8: of a serialized engine what TensorRT says that it runs, if it says so."""
    planned = known(row["planned_mac_share"])
    return known(row["int8_mac_share"]) if planned is None else planned


def _judge(
    row: Record, best: Record | None, judgements: Judgements, store: HistogramStore, folder: Path
) -> JudgedFile:
    label = str(row["calibrator"])
    if row["status"] not in ("ok", "unfaithful"):
        return JudgedFile(label, None, None, None, "", None, None, (), None)
    loss, int8 = judgements.loss([row]), float(row["int8"])
    interval_of_loss = loss.uncertainty.interval(loss.value)
    share = _share(row)
    if best is None:
        return JudgedFile(label, int8, interval_of_loss, share, "", None, None, (), None)
    more = judgements.difference([row], [best])
    if row["accuracy_by"] == SERIALIZED:
        behind = more.uncertainty.interval(more.value)
        return JudgedFile(
            label, int8, interval_of_loss, share, _name(best), float(best["int8"]), behind, (), None
        )
    compared = tuple(_compare(row, best, store))
    path = SweepFolder(folder).compared_ranges(str(row["run_key"]))
    write_atomically(path, _to_csv(compared))
    return JudgedFile(
        label,
        int8,
        interval_of_loss,
        share,
        _name(best),
        float(best["int8"]),
        more.uncertainty.interval(more.value),
        compared,
        path,
    )


def _serialized(row: Record) -> str:
    """What a row of a serialized engine says besides, and what it cannot say."""
    if row["accuracy_by"] != SERIALIZED or row["status"] == "skipped":
        return ""
    device_ms, fp32_ms = (
        known(row[name]) for name in ("device_latency_p50_ms", "fp32_device_latency_p50_ms")
    )
    said = [f"a serialized engine, measured as it is on {row['device']}"]
    if device_ms is not None:
        beside = f", FP32 built here {fp32_ms:.3f} ms" if fp32_ms is not None else ""
        said.append(f"{device_ms:.3f} ms per batch{beside}")
    if known(row["int8_mac_share"]) is None:
        said.append(
            "it does not say which layers are INT8 (it was built without detailed profiling "
            "verbosity, or from a file with other names)"
        )
    return "; ".join(said)


def _coarse_output(row: Record, outputs: Sequence[str], store: HistogramStore) -> str:
    """A note if a file quantizes an output of the network in steps too coarse for its values."""
    if row["plan"] != "file" or row["status"] == "skipped":
        return ""
    ranges = store.ranges(str(row["run_key"]))
    for name in outputs:
        step = ranges.get(name, 0.0) / INT8_MAX
        if step > COARSE_STEP:
            return (
                f"it quantizes the network's output '{name}' in steps of {step:.2g}: a score below "
                f"{step / 2:.2g} becomes 0"
            )
    return ""


def _compare(row: Record, best: Record, store: HistogramStore) -> Iterator[ComparedRange]:
    """Every tensor with a range in either file, the largest difference first."""
    theirs, ours = (store.ranges(str(one["run_key"])) for one in (row, best))
    seen = {
        name: histogram.amax
        for name, histogram in store.histograms(str(best["statistics_key"])).items()
    }
    compared = [
        ComparedRange(name, theirs.get(name), ours.get(name), seen.get(name))
        for name in dict.fromkeys([*ours, *theirs])
    ]
    yield from sorted(compared, key=lambda one: -abs(math.log(one.ratio)) if one.ratio else 0.0)


def _to_csv(compared: Sequence[ComparedRange]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tensor", "amax", "our_amax", "ratio", "largest_seen"])
    for one in compared:
        cells = (one.theirs, one.ours, one.ratio, one.seen)
        writer.writerow([one.tensor, *("" if cell is None else plain(cell) for cell in cells)])
    return text.getvalue().encode()


def print_judged(comparison: Comparison, console: Console) -> None:
    """Print one line per file: its loss, and its difference from our best run."""
    heads = ["file", comparison.metric, "minus FP32 (95 %)", "INT8"]
    heads += ["minus our best (95 %)", "our best"] if comparison.compared else []
    table = Table(title="Files of other tools", title_justify="left", box=box.SIMPLE)
    for head in heads:
        text = head in ("file", "our best")
        table.add_column(head, justify="left" if text else "right", no_wrap=not text)
    for file in comparison.files:
        table.add_row(*_cells(file)[: len(heads)])
    Console(file=console.file, width=max(console.width, WIDTH)).print(table)
    if comparison.compared:
        console.print("Our best is the most accurate row of ours with as much in INT8.")
    for file in comparison.files:
        if file.note:
            console.print(Text(f"! {file.label}: {file.note}.", style="yellow"))
    for file in comparison.files:
        if file.path:
            apart = next((one for one in file.ranges if one.ratio), None)
            most = (
                f"; largest difference: {apart.tensor}, {apart.ratio:.2f} times ours"
                if apart
                else ""
            )
            console.print(
                f"Ranges of {file.label} beside ours: {file.path}{most}",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip


def _cells(file: JudgedFile) -> list[str]:
    if file.int8 is None or file.loss is None:
        return [file.label, *[MISSING] * 5]
    share = MISSING if file.mac_share is None else f"{file.mac_share:.0%}"
    behind = _difference(file.behind) if file.behind else MISSING
    best = MISSING if file.best_int8 is None else f"{file.best} ({file.best_int8:.3f})"
    return [file.label, f"{file.int8:.3f}", _difference(file.loss), share, behind, best]


def _difference(difference: Interval) -> str:
    return f"{signed(difference.estimate)} ({interval(difference.low, difference.high)})"


def _name(row: Record) -> str:
    params = f" {row['calibrator_params']}" if row["calibrator_params"] else ""
    return f"{row['calibrator']}{params}, plan {row['plan']}"
