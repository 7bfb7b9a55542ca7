"""The rows as a listing: the order of columns, the text of each cell, the mark of each row.

Page, Markdown and terminal show the same listing in different formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.claims.judgements import Record, records_of
from bench.report.limits import listed_of
from bench.report.summary import Summary
from bench.report.wording import (
    GROUP,
    LABELLED,
    MISSING,
    cell,
    group_title,
    heading,
    interval,
    known,
    plain,
    plural,
)
from bench.results.row import COLUMNS, columns_with

POOLED = {
    "int8_latency_p50_ms": "int8_ms",
    "speedup": "int8_speedup",
}
"""Results with one number for all runs of a plan, since these run the same layers."""
POOLED_HEADS = {
    "int8_ms": (
        "INT8 latency of the plan (ms)",
        "latency per image: median of all runs of this plan, scaled to one FP32 latency",
    ),
    "int8_speedup": (
        "speedup of the plan (x)", "FP32 over INT8 latency on the same engine, median of its runs",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Head:
    """One column's head."""

    name: str
    label: str
    description: str
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """A cell's text and its sort key; an empty key sorts last."""

    text: str
    key: str


@dataclass(frozen=True)
class ListedRow:
    """One row.

    Its mark is "best", "tie", "open", "outside", "skipped", "unfaithful", "raced" or nothing.
    """

    mark: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Listing:
    title: str
    heads: tuple[Head, ...]
    lines: tuple[ListedRow, ...]
    runs: int
    """How many runs there are, listed or not."""


@dataclass(frozen=True)
class Fact:
    """A value that is the same in every row, or its few values."""

    head: Head
    values: tuple[str, ...]


def key_listings(summary: Summary) -> tuple[Listing, ...]:
    """Each group's rows in the most important columns, best first; a large sweep lists only the
    best."""
    rows = summary.tidied
    listings = []
    for _, group in rows.groupby(list(GROUP), sort=False):
        status = ["status"] if (group["status"] != "ok").any() else []
        columns = [*columns_with("key"), *_varied(rows), *_results(group), *status]
        listings.append(_listing(group_title(group), group, columns, summary, listed_of(len(rows))))
    return tuple(listings)


def rest_listing(summary: Summary, most_cells: int) -> Listing | None:
    """Every row in the columns that ``key_listings`` leave out and that differ between rows; None
    if these are too many cells for a page."""
    rows = summary.tidied
    shown_elsewhere = {
        *columns_with("beside"),
        *columns_with("key"),
        *_varied(rows),
        *_results(rows),
    }
    shown_elsewhere -= set(GROUP)
    rest = [
        name
        for name in COLUMNS
        if name not in shown_elsewhere and rows[name].nunique(dropna=False) > 1
    ]
    if (len(rest) + len(columns_with("key"))) * len(rows) > most_cells:
        return None
    return _listing("Remaining columns", rows, [*columns_with("key"), *rest], summary)


def common_facts(rows: pd.DataFrame) -> tuple[Fact, ...]:
    """The columns with the same value in every row, except those that have a section elsewhere."""
    placed = (name for role in ("key", "provenance", "beside") for name in columns_with(role))
    shown = {*placed, *_varied(rows), *_results(rows)}
    alike = [
        name for name in COLUMNS if name not in shown and rows[name].nunique(dropna=False) == 1
    ]
    return tuple(fact for name in alike if (fact := _fact(rows, name)).values)


def environment_facts(rows: pd.DataFrame) -> tuple[Fact, ...]:
    """Where and with what the runs were made."""
    whole = rows[rows["status"] != "raced"]
    rows = rows if whole.empty else whole
    return tuple(fact for name in columns_with("provenance") if (fact := _fact(rows, name)).values)


def _varied(rows: pd.DataFrame) -> list[str]:
    return [name for name in ("calibration_seed", *LABELLED) if rows[name].nunique() > 1]


def _results(rows: pd.DataFrame) -> list[str]:
    """The most important columns of what these rows measured."""
    built = rows["status"] == "built"
    results = [POOLED.get(name, name) for name in columns_with("result")]
    return [
        *([] if built.all() else results),
        *(columns_with("kernels") if rows["kernels_int8"].notna().any() else ()),
        *(("accuracy_by",) if not set(rows["accuracy_by"]) <= {"", "int8 kernels"} else ()),
        *(columns_with("fp16") if rows["fp16"].notna().any() else ()),
        *(columns_with("foretold") if (rows["measured_on"] != "").any() else ()),
        *(columns_with("built") if built.any() else ()),
    ]


def _listing(
    title: str,
    rows: pd.DataFrame,
    columns: Sequence[str],
    summary: Summary,
    most: int | None = None,
) -> Listing:
    ranked = rows.assign(
        group_rank=rows.groupby(list(GROUP), sort=False).ngroup(),
        best_rank=[key not in summary.best_keys for key in rows["run_key"]],
        raced_rank=rows["status"] == "raced",
    ).sort_values(
        ["group_rank", "best_rank", "raced_rank", "delta"],
        ascending=[True, True, True, False],
        kind="stable",
    )
    lines = [
        ListedRow(_mark(row, summary), tuple(_cell(row, name) for name in columns))
        for row in records_of(ranked[:most])
    ]
    return Listing(title, tuple(_head(name) for name in columns), tuple(lines), len(rows))


def _cell(row: Record, name: str) -> Cell:
    number = known(row[name])
    match name:
        case "calibrator":
            return Cell(str(row["calibrator_label"]), str(row["calibrator_label"]))
        case "ci_low":
            text = interval(number, known(row["ci_high"]), missing=MISSING)
        case "status" if row["status"] == "skipped":
            return Cell(f"skipped: {row['error'] or 'no reason was recorded'}", "skipped")
        case "status" if row["status"] == "raced":
            seen = plural(int(row["n_images"]), "image")
            return Cell(f"raced, saw {seen}: {row['error']}", "raced")
        case "int8_ms" | "int8_speedup":
            text = MISSING if number is None else f"{number:.2f}"
        case _:
            text = cell(name, row[name])
    return Cell(text, text if _is_text(name) else "" if number is None else f"{number:.6g}")


def _mark(row: Record, summary: Summary) -> str:
    if row["run_key"] in summary.best_keys:
        return "best"
    if row["status"] in ("skipped", "unfaithful", "raced"):
        return str(row["status"])
    standing = summary.standings.get(str(row["run_key"]))
    return standing.mark if standing else ""


def _head(name: str) -> Head:
    if name in POOLED_HEADS:
        return Head(name, *POOLED_HEADS[name], numeric=True)
    label, description = heading(name), COLUMNS[name].description
    if name == "ci_low":
        label, description = (
            "95 % interval",
            "95 % interval of delta over images, of this row alone",
        )
    return Head(name, label, description, not _is_text(name))


def _is_text(name: str) -> bool:
    return name in COLUMNS and COLUMNS[name].kind == "text"


def _fact(rows: pd.DataFrame, name: str) -> Fact:
    values = dict.fromkeys(plain(value) for value in rows[name].unique())
    return Fact(_head(name), tuple(value for value in values if value))
