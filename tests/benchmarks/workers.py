"""How much faster two workers make a sweep of accuracies than one process makes the same runs.

Both sides alternate, each with a cache of its own that begins empty. What is compared is from the
start of the first run to the end of the last: the start of processes, claims and report are the
same on both sides, and do not grow with the sweep.
"""

from __future__ import annotations

import os
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
    "plan=all,float_first,float_head", "timing=off", "confirm.seeds=0", "confirm.roundings=0",
)  # fmt: skip
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
    for _ in range(rounds):
        for side, words in SIDES.items():
            with tempfile.TemporaryDirectory(prefix="workers-") as folder:
                spent, runs = _sweep(Path(folder), words)
            seconds[side].append(spent)
    return Throughput(seconds, runs)


def print_workers(found: Throughput) -> None:
    table = Table("", f"{found.runs} runs, median s", "runs an hour")
    for side, spent in found.seconds.items():
        table.add_row(side, f"{median(spent):.1f}", f"{3600 * found.runs / median(spent):.0f}")
    Console().print(table, f"two workers: {found.ratio:.2f} times as fast")


def _sweep(folder: Path, words: Sequence[str]) -> tuple[float, int]:
    """Seconds from the first run's start to the last one's end, and how many runs there were."""
    subprocess.run(
        [
            sys.executable, "-m", "bench", "--multirun", *SWEEP, *words,
            f"sweep.out={folder / 'out'}", f"sweep.cache={folder / 'cache'}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    rows = RowStore(folder / "out").rows()
    starts = [datetime.fromisoformat(row.started_at).timestamp() for row in rows]
    ends = [start + (row.run_s or 0.0) for start, row in zip(starts, rows, strict=True)]
    return max(ends) - min(starts), len(rows)
