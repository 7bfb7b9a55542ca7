"""A run that races: it is judged on growing prefixes of its images, and ends once it has lost.

It has lost when it is proven (``bench.evaluation.racing``) that it cannot be the answer, or only
one that is as good as the answer up to a tie:

- against the best complete row of its plan, that it is better by no more than ``report.margin``:
  rows of one plan are equally fast, so that a tie between them costs nothing;
- against the best complete row of any plan, that it is worse by more than the margin: then not even
  its speed can make it the answer.

With ``max_loss`` the answer is the fastest row within that limit, and a tie with another row is not
enough: within its plan it has to be proven worse, and a row of another plan proves nothing. But
a run that is proven to lose more of FP32 than allowed has lost.

A further calibration set of a configuration that has a complete row does not race: if its bad sets
were dropped, the mean of the others would flatter it. A set that lost before another one was
complete is completed when the sweep ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from bench.cache import content_key
from bench.engine.base import Session, unusual_options
from bench.evaluation.looks import Seen
from bench.evaluation.racing import Prefixes, most_ahead, seen
from bench.evaluation.task import Evidence, Score, Task
from bench.report.wording import calibrator_label, plural
from bench.results.columns.provenance import FP32
from bench.results.row import Row
from bench.results.settings import Settings
from bench.run.error_analysis import Judged
from bench.run.gather import Gathered
from bench.run.leaders import PLAN, Leader, Leaders, Traits, alike
from bench.run.measured import Lost, Proof
from bench.run.parts import axes_of
from bench.run.ranges import RunRanges
from bench.run.spec import Run

FP32_CHANGED = 1e-9

UNKNOWN_RUNS = 100
"""As many are taken to race where a sweep does not know how many it will have."""


@dataclass(frozen=True, eq=False)
class Race:
    """The race of the runs in one folder: what the answer tolerates, and how many runs the sweep
    has, if that is known."""

    leaders: Leaders
    settings: Settings
    runs: int | None


@dataclass(frozen=True, eq=False)
class Raced:
    """A run that was evaluated to its end: what it showed after each look, for later ones."""

    evidence: Evidence[Any]
    looks: Mapping[str, Seen] = field(default_factory=dict)


class Racer:
    """One run in a race. ``task`` and ``fp32`` are those of all its images."""

    def __init__(self, run: Run, race: Race, task: Task[Any], fp32: Judged, traits: Traits) -> None:
        self._run, self._race, self._task, self._traits = run, race, task, traits
        self._fp32 = fp32

    def evaluate(self, session: Session, gathered: Gathered[Any]) -> Raced | Lost:
        """Evaluate prefix after prefix, until the run has lost or all images are evaluated."""
        prefixes = Prefixes.of(gathered.batches, self._run.measurement.seed)
        looks: dict[str, Seen] = {}
        done = 0
        for count in prefixes.looks:
            gathered.add(session, prefixes.order[done:count])
            done = count
            part = _Part(gathered, prefixes, count)
            score = self._task.part(part.images).score(gathered.predictions(part.images))
            key = look_key(self._run, part.images)
            looks[key] = seen(score, part.unit_of)
            if proof := self._proof(looks[key], key, part, prefixes):
                return Lost(proof, self._fp32_on(part), score)
        gathered.add(session, prefixes.order[done:])
        return Raced(gathered.evidence(), looks)

    def _proof(self, look: Seen, key: str, part: _Part, prefixes: Prefixes) -> Proof | None:
        """That it lost; None if it may still win."""
        leaders = self._race.leaders
        leaders.refresh()
        if leaders.has_complete(self._traits):
            return None
        runs = UNKNOWN_RUNS if self._race.runs is None else self._race.runs
        level = prefixes.level(max(runs, len(leaders) + 1))
        for name, what, other, limit in self._rivals(key, part):
            high = most_ahead(look, other, prefixes.total, level)
            if high < limit:
                images = plural(len(part.images), "image")
                how = f"at most {high:.4f} better" if high >= 0 else f"at least {-high:.4f} worse"
                why = f"{how} than {what}, as {images} of {self._run.n_images} prove"
                return Proof(name, why, high / self._fp32.score.value if name == FP32 else high)
        return None

    def _rivals(self, key: str, part: _Part) -> Iterator[tuple[str, str, Seen, float]]:
        """Whom the run is compared with, and what its lead must be below."""
        settings, fp32 = self._race.settings, self._fp32.score.value
        for leader, same_plan in self._race.leaders.of(self._traits, key):
            if abs((leader.row.fp32 or 0.0) - fp32) <= FP32_CHANGED:
                yield *_named(leader, key), limit_of(settings, fp32, same_plan)
        if settings.max_loss is not None and fp32 > 0:
            yield FP32, FP32, seen(self._fp32_on(part), part.unit_of), -settings.max_loss * fp32

    def _fp32_on(self, part: _Part) -> Score:
        return fp32_on(self._run, self._task, self._fp32.predictions, part.images)


class _Part:
    """The images of a prefix, in their order, and each image's batch, counted from 0."""

    def __init__(self, gathered: Gathered[Any], prefixes: Prefixes, count: int) -> None:
        batches = sorted(prefixes.order[:count])
        sizes = [len(gathered.images_of([batch])) for batch in batches]
        self.images = gathered.images_of(batches)
        self.unit_of = np.repeat(np.arange(count), sizes)


def fp32_on(run: Run, task: Task[Any], predictions: Sequence[Any], images: Sequence[int]) -> Score:
    """FP32's score on some of the run's images, computed once for all runs. ``task`` and
    ``predictions`` are those of all images."""
    how = run.measurement.agreement_score, run.baseline_engine, run.model.head
    key = (look_key(run, images), *how)
    chosen = [predictions[image] for image in images]
    return run.shared.once(
        "float score of a look", key, lambda: task.part(images).score(chosen), most=8
    )


def look_key(run: Run, images: Sequence[int]) -> str:
    """A key of a network and some of the run's images."""
    chosen = [run.validation_indices[image] for image in images]
    return content_key(
        run.model.network.sha256, run.model.preprocess, run.dataset.fingerprint, chosen
    )


def traits_of(run: Run, ranges: RunRanges, qdq: onnx.ModelProto, metric: str) -> dict[str, object]:
    """What the run's row will have in the columns of ``bench.run.leaders``."""
    return {
        **vars(axes_of(run)),
        "model_sha256": run.model.network.sha256,
        "dataset_fingerprint": run.dataset.validation.fingerprint,
        "engine_version": run.engine.version,
        "engine_options": unusual_options(run.engine),
        "threads": run.engine.threads,
        "accuracy_by": run.accuracy_by or "",
        "metric": metric,
        "n_images": run.n_images,
        "planned_mac_share": ranges.points.mac_share(ranges.graph),
        "qdq_bytes": qdq.ByteSize(),
    }


def _named(leader: Leader, key: str) -> tuple[str, str, Seen]:
    row = leader.row
    images = plural(row.calibration_size, "image")
    name = calibrator_label(row.calibrator, row.calibrator_params)
    return row.run_key, f"{name}, {images}, plan {row.plan}", leader.looks[key]


def still_lost(row: Row, race: Race) -> bool:
    """Whether a raced row may stay: what it lost against is still there, and still
    suffices; and no other calibration set of its configuration is complete."""
    settings, ahead = race.settings, row.raced_ahead
    race.leaders.refresh()
    if ahead is None or race.leaders.has_complete(row.to_json()):
        return False
    if row.raced_against == FP32:
        return settings.max_loss is not None and ahead < -settings.max_loss
    leader = race.leaders.complete(row.raced_against)
    if leader is None or leader.fp32 is None:
        return False
    return ahead < limit_of(settings, leader.fp32, alike(row.to_json(), leader.to_json(), PLAN))


def limit_of(settings: Settings, fp32: float, same_plan: bool) -> float:
    """A run has lost against a row if it is ahead of it by less than this."""
    if settings.max_loss is not None:
        return 0.0 if same_plan else -math.inf
    margin = settings.margin_of(fp32)
    return margin if same_plan else -margin
