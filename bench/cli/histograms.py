"""Draw thresholds on histograms: ``int8bench histograms FOLDER [--tensor NAME ...]``."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cli.command import Parser, plain_command
from bench.errors import ConfigError, DataError
from bench.report.figures import (
    Chart,
    ChartGroup,
    draw_tensor,
    draw_thresholds,
    groups_of,
    write_png,
)
from bench.report.thresholds import Thresholds, find_thresholds
from bench.report.wording import MISSING, calibrator_order
from bench.results.histograms import HistogramStore
from bench.results.table import read_table

Found = list[tuple[ChartGroup, Thresholds]]


@plain_command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench histograms",
        description="Draw the thresholds of every calibrator on the histograms of a sweep's "
        "tensors, at the largest calibration size and on the plan with most tensors. Without "
        "options: the two figures of the report (all tensors, the most informative histograms).",
    )
    parser.add_folder()
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--tensor", metavar="NAME", nargs="+", action="extend", help="these histograms"
    )
    which.add_argument("--all", action="store_true", help="every tensor's histogram")
    which.add_argument(
        "--list", action="store_true", help="print tensors, observed maxima and thresholds"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where the PNG files go (FOLDER/figures)"
    )
    options = parser.parse_args(argv)
    groups = _find(options.folder)
    if options.list:
        print("\n\n".join(_listed(group, thresholds) for group, thresholds in groups))
        return 0
    for chart in _draw(groups, options):
        print(*write_png([chart], options.out or options.folder / "figures"), flush=True)
    return 0


def _find(folder: Path) -> Found:
    """The thresholds of every (model, dataset, engine) that has any."""
    table, store = read_table(folder), HistogramStore(folder)
    pairs = [(group, find_thresholds(group.rows, store)) for group in groups_of(table)]
    with_thresholds = [(group, thresholds) for group, thresholds in pairs if thresholds]
    if not with_thresholds:
        raise DataError(
            f"{folder} has no histograms", "Run the sweep again into a new folder: it stores them"
        )
    return with_thresholds


def _draw(groups: Found, options: argparse.Namespace) -> Iterator[Chart]:
    if not (options.tensor or options.all):
        for group, thresholds in groups:
            yield from draw_thresholds(group, thresholds)
        return
    for name in options.tensor or ():
        _check(name, groups)
    for group, thresholds in groups:
        for name in thresholds.tensors:
            if options.all or name in options.tensor:
                yield draw_tensor(group, thresholds, name)


def _check(name: str, groups: Found) -> None:
    known = list(dict.fromkeys(tensor for _, thresholds in groups for tensor in thresholds.tensors))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        fix = f"Did you mean {' or '.join(near)}?" if near else "--list shows all"
        raise ConfigError(f"tensor {name} is unknown", fix)


def _listed(group: ChartGroup, thresholds: Thresholds) -> str:
    rules = sorted(thresholds.amax, key=calibrator_order)
    heads = ["observed", *rules]
    widths = [max(10, len(head)) + 2 for head in heads]
    lines = [group.title, "".join(map(str.ljust, heads, widths)) + "tensor"]
    for name, seen in thresholds.tensors.items():
        amax = thresholds.of(name)
        cells = [f"{seen.amax:.6g}", *(f"{amax[r]:.6g}" if r in amax else MISSING for r in rules)]
        lines.append("".join(map(str.ljust, cells, widths)) + name)
    return "\n".join(lines)
