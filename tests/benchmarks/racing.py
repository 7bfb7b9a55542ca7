"""How often a race is wrong, by simulation: ``python -m tests.benchmarks.racing``.

Validation images are drawn from the made-up populations of ``tests.evaluation.populations``, and
put in a random order. After each look the upper end of the difference of two INT8 systems is
compared with their difference on all of the images. It should lie below that as rarely as its level
says: a candidate that is as good would be dropped then.

In further settings one system fails on a few images and is as good as the other elsewhere: how many
orders drop the better system, though it wins by more than a tie?
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.cache import write_atomically
from bench.evaluation.matches import MatchTable
from bench.evaluation.racing import Prefixes, most_ahead, seen
from bench.evaluation.task import Score
from bench.results.settings import Settings
from tests.evaluation.populations import Integers, Pictures, Population, Scenes, failing

LEVELS = (0.95, 0.99, 1 - 0.05 / (6 * 24))
"""The last is that of each look in a race of 24 runs."""
POPULATION = 10_000


@dataclass(frozen=True)
class Setting:
    """``classes`` are those of mAP, the k-th 1 / k**rarity as frequent; 0 for Top-1.

    ``failures`` is the share of images on which the first system fails; elsewhere both differ by
    ``jitter`` alone: without it they are the same there.
    """

    classes: int
    images: int
    trials: int
    rarity: float = 0.0
    jitter: float = 0.3
    failures: float = 0.0


SETTINGS = (
    Setting(0, 400, 500),
    Setting(0, 2000, 500),
    Setting(8, 85, 100),
    Setting(8, 400, 60),
    Setting(80, 225, 40, 1.0),
    Setting(0, 400, 100, jitter=0.0, failures=0.02),
    Setting(1, 400, 60, jitter=0.0, failures=0.015),
    Setting(1, 400, 60, jitter=0.0, failures=0.02),
    Setting(1, 400, 60, jitter=0.02, failures=0.015),
    Setting(1, 400, 60, jitter=0.02, failures=0.02),
    Setting(1, 400, 60, jitter=0.1, failures=0.02),
    Setting(1, 400, 60, jitter=0.3, failures=0.02),
)


@dataclass(frozen=True)
class Line:
    """One look: how often the upper end was too low at each of ``LEVELS``, as shares of trials.

    ``reach`` is by how much it lies above the true difference at the last level, in the mean of
    those that are not infinite.
    ``decided`` counts the orders in which one system wins by more than a tie, ``better_dropped``
    those of them in which a race of 24 has dropped it at this look or before.
    """

    metric: str
    classes: int | None
    jitter: float
    failures: float
    images: int
    seen: int
    images_per_class: float | None
    wrong_of_5_percent: float
    wrong_of_1_percent: float
    wrong_in_a_race_of_24: float
    reach: float
    decided: int
    better_dropped: int
    trials: int


def simulate(setting: Setting) -> Iterator[Line]:
    """One line for each look. Each trial compares both systems with each other, both ways."""
    shifts = [0.0, 0.0] if setting.failures else [0.1, 0.2]
    population: Population
    if setting.classes:
        population = Scenes(POPULATION, setting.classes, shifts, setting.rarity, setting.jitter)
    else:
        population = Pictures(POPULATION, shifts, setting.jitter)
    failed = np.random.default_rng(1).random(POPULATION) < setting.failures
    ends: dict[int, list[list[float]]] = {}
    dropped: dict[int, list[bool]] = {}
    per_class: dict[int, float | None] = {}
    for trial in range(setting.trials):
        rng = np.random.default_rng(trial)
        drawn = np.sort(rng.choice(POPULATION, setting.images, replace=False))
        whole = [_score(population, system, drawn, setting, failed).value for system in range(3)]
        truth, margin = whole[1] - whole[2], Settings().margin_of(whole[0])
        lost = False
        prefixes = Prefixes.of(setting.images, trial)
        for count in prefixes.looks:
            part = drawn[np.sort(np.array(prefixes.order[:count]))]
            units = np.arange(count)
            one, two = (
                seen(_score(population, system, part, setting, failed), units) for system in (1, 2)
            )
            per_class[count] = one.per_class
            for pair, true in (((one, two), truth), ((two, one), -truth)):
                above = [most_ahead(*pair, setting.images, level) - true for level in LEVELS]
                ends.setdefault(count, []).append(above)
                lost |= true > margin > above[-1] + true
            if abs(truth) > margin:
                dropped.setdefault(count, []).append(lost)
    for count, found in ends.items():
        above_truth = np.array(found)
        five, one_percent, race = (above_truth < 0).mean(axis=0).tolist()
        reach = float(np.ma.masked_invalid(above_truth[:, -1]).mean())
        metric = "mAP50-95" if setting.classes else "Top-1"
        yield Line(
            metric, setting.classes or None, setting.jitter, setting.failures, setting.images,
            count, per_class[count], five, one_percent, race, reach, len(dropped.get(count, [])),
            sum(dropped.get(count, [])), len(found),
        )  # fmt: skip


def _score(
    population: Population,
    system: int,
    images: Integers,
    setting: Setting,
    failed: npt.NDArray[np.bool_],
) -> Score:
    judged = population.judged(system, images)
    if system == 1:
        judged = failing(judged, failed[images])
    if isinstance(judged, MatchTable):
        return Score(judged.map(), math.nan, judged, setting.classes)
    labels = np.zeros(len(judged), np.int64)
    return Score(float(judged.mean()), math.nan, judged, 1, labels)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.racing")
    parser.add_argument("--out", type=Path, default=Path("results/benchmark/racing-errors.csv"))
    given = parser.parse_args(arguments)
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Line)], lineterminator="\n")
    writer.writeheader()
    for setting in SETTINGS:
        for line in simulate(setting):
            values = asdict(line).items()
            writer.writerow({n: f"{v:.4f}" if isinstance(v, float) else v for n, v in values})
            print(text.getvalue().splitlines()[-1], flush=True)
        write_atomically(given.out, text.getvalue().encode())


if __name__ == "__main__":
    main()
