"""What racing would have saved: ``python scripts/replay_racing.py FOLDER ...``.

Evaluates every measured run of finished sweeps once more, keeps what was right image by image, and
replays ``sweep.race=true`` on it in many orders of the images. The answer of the rows that a race
completes is compared with that of all rows: both come from the code behind the report.
"""

from __future__ import annotations

import argparse
import pickle
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from rich.console import Console
from rich.progress import track

from bench.claims.judgements import Judgements
from bench.cli.compose import build_typed
from bench.cli.messages import command
from bench.engine.base import AotCompiler
from bench.evaluation.bootstrap import map_replicates, mean_replicates
from bench.evaluation.interval import half_samples, rule_of_three
from bench.evaluation.judgement import Judgement
from bench.evaluation.looks import Seen
from bench.evaluation.matches import MatchTable
from bench.evaluation.racing import Prefixes, most_ahead
from bench.report.summary import Answer, summarize
from bench.results.row import Row
from bench.results.settings import Settings
from bench.results.store import RowStore
from bench.results.table import make_table
from bench.run.leaders import PLAN, alike
from bench.run.measure import (
    baseline_of,
    build_for_accuracy,
    evaluate,
    int8_model,
    task_of,
    validation_images,
)
from bench.run.race import limit_of
from bench.run.ranges import find_run_ranges, quantize
from bench.run.shared import Shared


@dataclass(frozen=True)
class Replay:
    """One race: how many image evaluations it took, and its answer beside that of all rows.

    ``standing`` is that of the race's answer among all rows; ``behind`` is by how much it loses
    more than the whole sweep's answer, in the metric on all images, and ``margin`` what counts as
    a tie.
    """

    sweep: str
    metric: str
    images: int
    runs: int
    order: int
    raced: int
    evaluations: int
    share: float
    answer: str
    answer_of_race: str
    standing: str
    behind: float
    margin: float


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[2])
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+", help="sweeps' results")
    parser.add_argument("--keep", type=Path, default=Path(".cache/racing"), help="judged runs")
    parser.add_argument("--orders", type=int, default=20, help="orders of the images")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table there")
    given = parser.parse_args(arguments)
    lines: list[Replay] = []
    for folder in given.folders:
        judged = judge_again(folder, given.keep)
        for order in track(range(given.orders), folder.name, console=Console(stderr=True)):
            lines.append(replay(folder, judged, order))
    found = pd.DataFrame([asdict(line) for line in lines])
    if given.csv:
        given.csv.parent.mkdir(parents=True, exist_ok=True)
        found.to_csv(given.csv, index=False, float_format="%.4f")
    for name, of_one in found.groupby("sweep", sort=False):
        same = (of_one["answer"] == of_one["answer_of_race"]).sum()
        tied = (of_one["behind"] <= of_one["margin"]).sum()
        print(
            f"{name}: {of_one['share'].mean():.1%} of the image evaluations "
            f"({of_one['share'].min():.1%} to {of_one['share'].max():.1%}); of {len(of_one)} "
            f"answers {same} are the same and {tied} within the margin of it, at most "
            f"{of_one['behind'].max():.4f} behind"
        )
    return 0


def judge_again(folder: Path, keep: Path) -> dict[str, Judgement]:
    """What was right image by image, by run key; stored under ``keep``."""
    keep.mkdir(parents=True, exist_ok=True)
    judged: dict[str, Judgement] = {}
    with Shared() as shared:
        for row in track(_rows(folder), folder.name, console=Console(stderr=True)):
            path = keep / f"{row.run_key}.pickle"  # its writer is this script alone
            if not path.exists():
                path.write_bytes(pickle.dumps(_judge(row, shared)))
            judged[row.run_key] = pickle.loads(path.read_bytes())
    return judged


def _rows(folder: Path) -> list[Row]:
    return [row for row in RowStore(folder).rows() if row.status == "ok" and row.int8 is not None]


def _judge(row: Row, shared: Shared) -> Judgement:
    words = [word for word in shlex.split(row.overrides) if not word.startswith("also_build")]
    run = build_typed(words, shared)
    images = validation_images(run)
    baseline, _ = baseline_of(run, images)
    ranges = find_run_ranges(run)
    model = int8_model(run, ranges, quantize(run, ranges))
    assert not isinstance(run.engine, AotCompiler)
    with build_for_accuracy(run, run.engine, model) as session:
        evidence = evaluate(run, session, images)
    score = task_of(run, baseline.predictions).score(evidence.predictions)
    assert row.int8 is not None
    assert abs(score.value - row.int8) < 1e-9, f"{row.run_key}: {score.value} is not {row.int8}"
    return score.judged


def replay(folder: Path, judged: Mapping[str, Judgement], order: int) -> Replay:
    """A race of the folder's runs, in their order."""
    rows, settings = _rows(folder), Settings()
    images = int(rows[0].n_images or 0)
    prefixes = Prefixes.of(images, order)
    leaders: list[tuple[Row, dict[int, Seen]]] = []
    raced: list[str] = []
    evaluations = 0
    for row in rows:
        seen_by: dict[int, Seen] = {}
        for count in (*prefixes.looks, images):
            if count == images:
                leaders.append((row, seen_by))
                break
            seen_by[count] = _seen(judged[row.run_key], prefixes, count)
            if _has_lost(row, seen_by[count], leaders, count, prefixes, len(rows), settings):
                raced.append(row.run_key)
                break
        evaluations += count
    table = make_table(rows)
    whole = _answer(table, folder, settings)
    table.loc[table["run_key"].isin(raced), "status"] = "raced"
    race = _answer(table, folder, settings)
    return Replay(
        f"{rows[0].model} on {rows[0].dataset}",
        rows[0].metric,
        images,
        len(rows),
        order,
        len(raced),
        evaluations,
        evaluations / images / len(rows),
        whole.best.name,
        race.best.name,
        whole.choice.standings[race.best.run_key].kind,
        whole.best.delta - race.best.delta,
        whole.choice.margin,
    )


def _has_lost(
    row: Row,
    look: Seen,
    leaders: Sequence[tuple[Row, Mapping[int, Seen]]],
    count: int,
    prefixes: Prefixes,
    runs: int,
    settings: Settings,
) -> bool:
    for leader, looks in _rivals(row, leaders):
        same_plan = alike(row.to_json(), leader.to_json(), PLAN)
        limit = limit_of(settings, leader.fp32 or 0.0, same_plan)
        level = prefixes.level(runs)
        if most_ahead(look, looks[count], prefixes.total, level) < limit:
            return True
    return False


def _rivals(
    row: Row, leaders: Sequence[tuple[Row, Mapping[int, Seen]]]
) -> Iterator[tuple[Row, Mapping[int, Seen]]]:
    """The best complete row of the same plan, and the best of all plans."""
    own = [one for one in leaders if alike(row.to_json(), one[0].to_json(), PLAN)]
    for pool in (own, leaders):
        if pool:
            yield max(pool, key=lambda one: one[0].int8 or 0.0)


def _seen(judged: Judgement, prefixes: Prefixes, count: int) -> Seen:
    """As ``bench.evaluation.racing.seen`` gives it for the images of the prefix alone."""
    part = np.sort(np.array(prefixes.order[:count]))
    weights = np.concatenate([np.ones((1, count), np.int32), half_samples(count)])
    if isinstance(judged, MatchTable):
        values = map_replicates(_part_of(judged, part), weights)
        of_class = (judged.positives[part] > 0).sum(axis=0)
        per_class, least = float(of_class[of_class > 0].mean()), 0.0
    else:
        values = mean_replicates(judged[part], weights)
        per_class, least = None, rule_of_three(count)
    return Seen(float(values[0]), values[1:], count, per_class, least, "")


def _part_of(matches: MatchTable, images: npt.NDArray[np.int64]) -> MatchTable:
    """The same for some of its images, in their order."""
    place = np.full(matches.n_images, -1, np.int32)
    place[images] = np.arange(len(images))
    of_part = place[matches.image] >= 0
    before = np.concatenate([[0], np.cumsum(of_part)])
    return MatchTable(
        place[matches.image[of_part]],
        matches.score[of_part],
        matches.hit[of_part],
        matches.ignored[of_part],
        before[matches.class_start].astype(np.int64),
        matches.positives[images],
    )


def _answer(table: pd.DataFrame, folder: Path, settings: Settings) -> Answer:
    (answer,) = summarize(table, Judgements(folder), settings).answers
    return answer


if __name__ == "__main__":
    raise SystemExit(main())
