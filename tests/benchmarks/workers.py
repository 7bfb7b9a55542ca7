"""How much faster two workers make a sweep of accuracies than one process makes the same runs.

Both sides alternate. What is made once for a model and dataset (fitted images, FP32 results, the
statistics) is in the cache of both before, and what is compared is from the start of the first run
to the end of the last: all else is the same on both sides, and does not grow with the sweep.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.results.store import RowStore

SWEEP = (
    "model=yolov8n", "calibrator=minmax,entropy2,percentile,mse", "calibration.size=8,64",
    "plan=all,float_head", "timing=off", "confirm.seeds=0", "confirm.roundings=0",
)  # fmt: skip
FIRST = (*SWEEP, "calibrator=minmax", "plan=float_first")
"""Two other runs, which fill the cache."""

SIDES = {
    "one process": (),
    "two workers": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
}


@dataclass(frozen=True)
class Throughput:
    """Seconds of the runs of each round, by side, and how many runs there are."""

    seconds: dict[str, list[float]]
    runs: int

    @property
    def ratio(self) -> float:
        one, two = (median(self.seconds[side]) for side in SIDES)
        return one / two


def measure_workers(rounds: int) -> Throughput:
    """The sweep by each side in turn, ``rounds`` times."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    runs = 0
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        cache = Path(folder) / "cache"
        _sweep(Path(folder) / "first", cache, FIRST)
        for number in range(rounds):
            for side, words in SIDES.items():
                out = Path(folder) / f"{side} {number}"
                spent, runs = _sweep(out, cache, (*SWEEP, *words))
                seconds[side].append(spent)
    return Throughput(seconds, runs)


def print_workers(found: Throughput) -> None:
    table = Table("", f"{found.runs} runs, median s", "runs an hour")
    for side, spent in found.seconds.items():
        table.add_row(side, f"{median(spent):.1f}", f"{3600 * found.runs / median(spent):.0f}")
    Console().print(table, f"two workers: {found.ratio:.2f} times as fast")


def _sweep(out: Path, cache: Path, words: Sequence[str]) -> tuple[float, int]:
    """Seconds from the first run's start to the last one's end, and how many runs there were."""
    subprocess.run(
        [
            sys.executable, "-m", "bench", "--multirun", *words,
            f"sweep.out='{out}'", f"sweep.cache='{cache}'", f"sweep.locks='{cache}'",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    rows = RowStore(out).rows()
    starts = [datetime.fromisoformat(row.started_at).timestamp() for row in rows]
    ends = [start + (row.run_s or 0.0) for start, row in zip(starts, rows, strict=True)]
    return max(ends) - min(starts), len(rows)
