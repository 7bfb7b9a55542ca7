"""How far the calibrators' thresholds lie apart: ``python scripts/compare_thresholds.py FOLDER``.

Of every two calibrators of a sweep, at the largest calibration size and on the plan with most
tensors: the ratio of their thresholds over all tensors, and what each made of the accuracy.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from rich.console import Console
from rich.table import Table

from bench.cli.messages import command
from bench.errors import DataError
from bench.report.figures import groups_of
from bench.report.thresholds import Thresholds, find_thresholds
from bench.results.histograms import HistogramStore
from bench.results.table import read_table


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[2])
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+", help="sweeps' results")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args(arguments)
    found = pd.concat([compare(folder) for folder in options.folders], ignore_index=True)
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        found.to_csv(options.csv, index=False, float_format="%.4f")
    table = Table(title="thresholds of b over those of a")
    for name in found:
        table.add_column(str(name))
    for line in found.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in line))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def compare(folder: Path) -> pd.DataFrame:
    """One line for every pair of rules of every model in the sweep."""
    store, lines = HistogramStore(folder), []
    for group in groups_of(read_table(folder)):
        thresholds = find_thresholds(group.rows, store)
        if thresholds is not None:
            rows = group.rows[
                (group.rows["calibration_size"] == thresholds.size)
                & (group.rows["plan_label"] == thresholds.plan_label)
            ]
            scores = rows.groupby("calibrator_label", sort=False)["int8"].mean()
            first = rows.iloc[0]
            head = {"model": first["model"], "dataset": first["dataset"]}
            head |= {"images": thresholds.size, "fp32": float(first["fp32"])}
            lines += [head | line for line in _pairs(thresholds, scores)]
    if not lines:
        raise DataError(f"{folder} keeps no ranges of two calibrators", "Sweep over calibrators")
    return pd.DataFrame(lines)


def _pairs(thresholds: Thresholds, scores: pd.Series) -> Iterator[dict[str, object]]:
    for a, b in itertools.combinations(thresholds.amax, 2):
        both = [name for name in thresholds.amax[a] if name in thresholds.amax[b]]
        ratios = np.array([thresholds.amax[b][n] / thresholds.amax[a][n] for n in both])
        apart = np.abs(np.log(ratios))
        yield {
            "a": a,
            "b": b,
            "int8 a": float(scores[a]),
            "int8 b": float(scores[b]),
            "tensors": len(both),
            "median": float(np.median(ratios)),
            "5 %": float(np.quantile(ratios, 0.05)),
            "95 %": float(np.quantile(ratios, 0.95)),
            "> 1 % apart": float((apart > np.log(1.01)).mean()),
            "> 10 % apart": float((apart > np.log(1.1)).mean()),
        }


if __name__ == "__main__":
    sys.exit(main())
