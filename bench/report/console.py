"""The table in a terminal, with the answer in one sentence below it."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.claims.judgements import records_of
from bench.report.summary import Summary
from bench.report.wording import (
    GROUP,
    MISSING,
    group_title,
    interval,
    known,
    plain,
    plural,
    signed,
)

NARROW = 110
"""A terminal with fewer columns of text than this does not show every column of the table."""

MOST_STEPS = 2
"""Most warnings shown; the page has the others."""

MARKS = {
    "tie": ("≈", "as accurate as the least loss, within the margin"),
    "open": ("?", "these images cannot decide"),
    "outside": ("−", "loses more than max_loss"),
}
"""The mark of each standing, and what the mark means."""


UNFINISHED = ("skipped", "raced")
"""Rows without an accuracy on all images show why in its place."""


def print_table(summary: Summary, console: Console) -> None:
    """Print every row, best first and marked, then the winner or the tie, then the caveats."""
    rows = _configurations(summary)
    for _, group in rows.groupby(list(GROUP), sort=False):
        console.print(_view(group, summary, narrow=console.width < NARROW))
        if legend := _legend(group, summary):
            console.print(Text(legend, style="table.caption"))
    for answer in summary.answers:
        console.print(Text(answer.sentence, style="bold"))
        if answer.built.sentence:
            console.print(Text(answer.built.sentence))
        for number, step in enumerate(answer.next_steps[:MOST_STEPS], 1):
            console.print(Text(f"Next {number}: {step.what}."))
            if step.command:
                console.print(Text(f"    {step.command}"), soft_wrap=True)
    for sentence in summary.unanswered:
        console.print(Text(sentence, style="bold"))
    for foretold in summary.foretold:
        console.print(Text(foretold.sentence, style="bold"))
    if not summary.answers and not summary.unanswered:
        runs = plural(summary.rows, "run")
        console.print(Text(f"No answer: none of {runs} was measured.", style="bold"))
    for warning in summary.warnings:
        console.print(Text(f"! {warning}", style="yellow"))


def _configurations(summary: Summary) -> pd.DataFrame:
    """One line per configuration: the mean over its calibration sets, and how many there are."""
    results = {key: r for answer in summary.answers for r in answer.results for key in r.run_keys}
    shown = []
    for row in records_of(summary.tidied):
        result = results.get(str(row["run_key"]))
        if result is None:
            shown.append({**row, "sets": 1})
        elif result.run_key == row["run_key"]:
            low, high = result.difference.ends
            means = {"int8": result.int8, "delta": result.delta, "ci_low": low, "ci_high": high}
            shown.append({**row, **means, "sets": result.sets})
    return pd.DataFrame(shown, columns=[*summary.tidied.columns, "sets"])


def _view(rows: pd.DataFrame, summary: Summary, *, narrow: bool) -> Table:
    built = (rows["status"] == "built").any()
    cells_of = _built_cells if built else _cells
    view = Table(
        title=escape(group_title(rows)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    left_out = set() if (rows["sets"] > 1).any() and not narrow else {"sets"}
    left_out |= set() if rows["speedup_fp16"].notna().any() else {"over FP16"}
    left_out |= set() if rows["kernels_int8"].notna().any() else {"kernels here"}
    unfaithful = set(rows.loc[rows["status"] == "unfaithful", "run_key"])
    cells = [cells_of(row, left_out, narrow) for _, row in _best_first(rows, summary).iterrows()]
    for name in cells[0]:
        words = name in ("", "calibrator", "plan")
        if words:
            longest = max(len(line[name]) for line in cells)
            view.add_column(name, overflow="fold", min_width=min(longest, 12))
        else:
            view.add_column(name, justify="right", no_wrap=True)
    for key, line in zip(_best_first(rows, summary)["run_key"], cells, strict=True):
        best, wrong = key in summary.best_keys, key in unfaithful
        mark = "★" if best else "✗" if wrong else _mark(summary, key)
        style = "bold green" if best else "red" if wrong or mark == "−" else None
        view.add_row(*(Text(text) for text in (line | {"": mark}).values()), style=style)
    return view


def _legend(rows: pd.DataFrame, summary: Summary) -> str:
    """What the marks mean. (Rich cuts a table's caption, so it is printed below.)"""
    if (rows["status"] == "built").any():
        return ""
    marks = {_mark(summary, key) for key in rows["run_key"]}
    shown = [f"{mark} {meaning}" for mark, meaning in MARKS.values() if mark in marks]
    shown = ["★ recommended"] * bool(summary.best_keys) + shown
    if (rows["status"] == "raced").any():
        shown.append("raced: lost a race; delta is that on the images it saw")
    if (rows["status"] == "unfaithful").any():
        shown.append("✗ does not compute the Q/DQ file")
    return "   ".join(shown)


def _mark(summary: Summary, key: str) -> str:
    standing = summary.standings.get(key)
    return MARKS[standing.mark][0] if standing and standing.mark else ""


def _cells(row: pd.Series, left_out: set[str], narrow: bool) -> dict[str, str]:
    """What each column shows for a row; a narrow terminal leaves some out."""
    latency, speedup = known(row["int8_ms"]), known(row["int8_speedup"])
    share, status = known(row["int8_mac_share"]), str(row["status"])
    cells = _asked(row) | {
        "FP32": _number(known(row["fp32"]), ".3f"),
        "INT8": status if status in UNFINISHED else _number(known(row["int8"]), ".3f"),
        "kernels here": _number(known(row["kernels_int8"]), ".3f"),
        "delta": signed(known(row["delta"])),
        "95 % interval": interval(known(row["ci_low"]), known(row["ci_high"]), missing=MISSING),
        "INT8 ms": _number(latency, ".1f") + ("*" if row["latency_note"] else ""),
        "speed-up": _number(speedup, ".2f", "x"),
        "over FP16": _number(known(row["speedup_fp16"]), ".2f", "x"),
        "INT8 MACs": _number(None if share is None else 100 * share, ".0f", " %"),
    }
    rather = "over FP16" if "over FP16" in left_out else "speed-up"
    return _without(cells, left_out, {"FP32", "INT8 ms", "INT8 MACs", rather} if narrow else set())


def _built_cells(row: pd.Series, left_out: set[str], narrow: bool) -> dict[str, str]:
    """The same for a row that only built an engine for another machine."""
    int8, fp32, fp16 = (known(row[f"{name}engine_bytes"]) for name in ("", "fp32_", "fp16_"))
    cells = _asked(row) | {
        "GPU": str(row["compute_capability"]),
        "engine": row["status"],
        "MB": _number(None if int8 is None else int8 / 1e6, ".1f"),
        "FP32 MB": _number(None if fp32 is None else fp32 / 1e6, ".1f"),
        "FP16 MB": _number(None if fp16 is None else fp16 / 1e6, ".1f"),
        "build s": _number(known(row["engine_build_s"]), ".1f"),
        "warnings": _number(known(row["builder_warnings"]), ".0f"),
    }
    return _without(cells, left_out, {"GPU", "FP32 MB", "FP16 MB"} if narrow else set())


def _asked(row: pd.Series) -> dict[str, str]:
    return {
        "": "",
        "calibrator": str(row["calibrator_label"]),
        "size": plain(row["calibration_size"]),
        "sets": plain(row["sets"]),
        "plan": str(row["plan_label"]),
    }


def _without(cells: dict[str, str], *left_out: set[str]) -> dict[str, str]:
    return {name: text for name, text in cells.items() if name not in set().union(*left_out)}


def _best_first(rows: pd.DataFrame, summary: Summary) -> pd.DataFrame:
    best = [key not in summary.best_keys for key in rows["run_key"]]
    return rows.assign(rank=best, raced=rows["status"] == "raced").sort_values(
        ["rank", "raced", "delta"], ascending=[True, True, False], kind="stable"
    )


def _number(value: float | None, style: str, unit: str = "") -> str:
    return MISSING if value is None else f"{value:{style}}{unit}"
