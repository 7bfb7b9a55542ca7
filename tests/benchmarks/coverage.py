"""How often the intervals cover the truth, by simulation: ``python -m tests.benchmarks.coverage``.

The made-up populations are those of ``tests.evaluation.populations``. A setting is simulated twice:
with one row in many trials, and with many rows, of which the harness recommends one, in fewer.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.cache import write_atomically
from bench.evaluation.interval import FEWEST_PER_CLASS
from tests.evaluation.interval_trials import coverage_of
from tests.evaluation.populations import Pictures, Population, Scenes

POPULATION = 10_000
JITTER = 0.3
TABLE_WIDTH = 190
HEADS = (
    "metric", "images", "of a class", "rows x sets", "INT8 - FP32", "bootstrap", "half-samples",
    "best, naive", "best, widened", "false gains, naive", "widened", "too few images", "trials",
)  # fmt: skip
POOL = 50
"""Calibration sets that a configuration's are drawn from."""
SET_SPREAD = 0.15
"""The standard deviation of their shifts: 0.05 of Top-1."""


@dataclass(frozen=True)
class Setting:
    """``classes`` are those of mAP, 0 for Top-1. ``shift`` is what INT8 takes off the logits of an
    average image: -0.04 makes up for the jitter. ``trials`` are of one row and of the best of many.
    """

    classes: int
    images: int
    shift: float
    trials: tuple[int, int]
    rarity: float = 0.0
    rows: int = 24
    sets: int = 1


TOP1 = tuple(
    Setting(0, images, shift, (600, 200)) for images in (40, 85, 400) for shift in (-0.04, 0.25)
)
SETS = tuple(Setting(0, images, 0.25, (600, 100), rows=8, sets=3) for images in (85, 400))
FEW_CLASSES = tuple(
    Setting(8, images, shift, trials)
    for images, trials in ((40, (300, 80)), (85, (300, 60)), (400, (200, 40)))
    for shift in (-0.04, 0.36)
)
MANY_CLASSES = tuple(
    Setting(80, images, shift, trials, rarity=1.0)
    for images, shift, trials in (
        (85, 0.35, (100, 30)),
        (400, 0.35, (150, 16)),
        (640, -0.04, (200, 24)),
        (640, 0.35, (200, 24)),
    )
)
SETTINGS = (*TOP1, *SETS, *FEW_CLASSES, *MANY_CLASSES)


@dataclass(frozen=True)
class Line:
    """What was simulated of one setting: shares of trials.

    ``bootstrap`` and ``half_samples``: coverage of one row by the percentile interval of the
    bootstrap (over images alone) and by the harness' interval. ``best_naive`` and ``best_widened``:
    of the recommended row, by its interval of one row and by the one in the answer; false gains are
    those above zero and above the truth. ``too_few_images``: the report says that the interval may
    be too narrow.
    """

    metric: str
    classes: int | None
    images: int
    images_per_class: float | None
    rows: int
    sets: int
    difference: float
    bootstrap: float
    half_samples: float
    best_naive: float
    best_widened: float
    false_gains_naive: float
    false_gains_widened: float
    too_few_images: bool
    trials_one: int
    trials_best: int


def simulate(setting: Setting, share: float = 1.0) -> Line:
    """One line; ``share`` of the trials, at least 2 of each kind."""
    population = _population(setting)
    pools = [
        list(range(first, first + _pool(setting)))
        for first in range(1, len(population.truths) + 1, _pool(setting))
    ]
    trials_one, trials_best = (max(2, round(share * trials)) for trials in setting.trials)
    sets = setting.sets
    draw = partial(coverage_of, population, setting.images, sets=sets)
    one = draw(trials_one, pools=pools[:1], halves=200, resamples=300)
    best = draw(trials_best, pools=pools, halves=120, seed=1)
    return Line(
        metric="mAP50-95" if setting.classes else "Top-1",
        classes=setting.classes or None,
        images=setting.images,
        images_per_class=one.images_per_class,
        rows=setting.rows,
        sets=sets,
        difference=float(np.mean(population.truths)),
        bootstrap=one.bootstrap.coverage,
        half_samples=one.one.coverage,
        best_naive=best.naive.coverage,
        best_widened=best.widened.coverage,
        false_gains_naive=best.naive.false_gain,
        false_gains_widened=best.widened.false_gain,
        too_few_images=(one.images_per_class or FEWEST_PER_CLASS) < FEWEST_PER_CLASS,
        trials_one=trials_one,
        trials_best=trials_best,
    )


def simulate_all(share: float = 1.0, processes: int | None = None) -> Iterator[Line]:
    """Every setting, in order."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(simulate, SETTINGS, [share] * len(SETTINGS))


def simulate_to(path: Path, share: float = 1.0) -> list[Line]:
    """Every setting; the table as CSV grows line by line."""
    lines = []
    for line in simulate_all(share):
        lines.append(line)
        write_csv(lines, path)
    return lines


def print_lines(lines: Sequence[Line]) -> None:
    """For a terminal, or for a file as wide as it has to be."""
    table = Table()
    for index, head in enumerate(HEADS):
        table.add_column(head, justify="right" if index else "left")
    for line in lines:
        shares = (
            line.bootstrap, line.half_samples, line.best_naive, line.best_widened,
            line.false_gains_naive, line.false_gains_widened,
        )  # fmt: skip
        table.add_row(
            f"{line.metric}, {line.classes} classes" if line.classes else line.metric,
            str(line.images),
            "" if line.images_per_class is None else f"{line.images_per_class:.1f}",
            f"{line.rows} x {line.sets}",
            f"{line.difference:+.3f}",
            *(f"{100 * share:.1f} %" for share in shares),
            "yes" if line.too_few_images else "",
            f"{line.trials_one}, {line.trials_best}",
        )
    Console(width=TABLE_WIDTH).print(table)


def write_csv(lines: Sequence[Line], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Line)], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        values = asdict(line).items()
        writer.writerow({n: f"{v:.4f}" if isinstance(v, float) else v for n, v in values})
    write_atomically(path, text.getvalue().encode())


def _pool(setting: Setting) -> int:
    return 1 if setting.sets == 1 else POOL


def _population(setting: Setting) -> Population:
    """The same for all settings but for what they say."""
    rng = np.random.default_rng(0)
    spread = 0.0 if setting.sets == 1 else SET_SPREAD
    shifts = rng.normal(setting.shift, spread, setting.rows * _pool(setting)).tolist()
    if setting.classes:
        return Scenes(POPULATION, setting.classes, shifts, setting.rarity, JITTER)
    return Pictures(POPULATION, shifts, JITTER)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.coverage")
    parser.add_argument("--out", type=Path, default=Path("results/benchmark/coverage.csv"))
    parser.add_argument("--trials", type=float, default=1.0, metavar="SHARE", help="of the trials")
    given = parser.parse_args(arguments)
    lines = simulate_to(given.out, given.trials)
    print_lines(lines)


if __name__ == "__main__":
    main()
