"""``plan=auto`` and ``calibrator=auto``: a search replaces them by overrides that can be typed.

So a row of a searched plan is like every other row: it states which layers are in float, and can be
reproduced, confirmed and bundled without the search.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cache import write_atomically
from bench.calibration.auto import AutoCalibrator
from bench.cli.compose import build_typed
from bench.diagnosis.lists import plan_words, quoted
from bench.errors import ConfigError
from bench.quantization.auto_plan import AutoPlan
from bench.results.folder import SweepFolder
from bench.results.plan_search import Trail
from bench.run.shared import Shared
from bench.run.spec import Run
from bench.search.candidate import Candidate
from bench.search.plan_search import PlanSearch
from bench.search.trial_store import stored_trail


def is_open(run: Run) -> bool:
    """Whether a search has to choose the plan first.

    Raises ConfigError for ``calibrator=auto`` without ``plan=auto``.
    """
    if isinstance(run.plan, AutoPlan):
        return True
    if isinstance(run.calibrator, AutoCalibrator):
        raise ConfigError("calibrator=auto is searched together with the plan", "Add plan=auto")
    return False


def choose_plan(
    run: Run, typed: Sequence[str], shared: Shared, folder: Path
) -> tuple[Run, list[str], Trail]:
    """The run that the search chooses, its overrides, and the search itself.

    While it runs, its trials so far are stored in the sweep's ``folder``.
    """
    assert isinstance(run.plan, AutoPlan)
    choices = run.calibrator.choices if isinstance(run.calibrator, AutoCalibrator) else ("",)
    candidates = [_candidate(run, typed, shlex.split(choice), shared) for choice in choices]
    search = PlanSearch(candidates, run.plan)
    path = SweepFolder(folder).plan_search(search.key)

    def report(trail: Trail) -> None:
        print(trail.line(), file=sys.stderr)
        write_atomically(path, trail.to_bytes())

    search.report = report
    if search.overlap:
        print(
            f"warning: plan=auto searches on {search.overlap} images that are also evaluated: the "
            "row looks better than it is. Calibrate on images that are not evaluated",
            file=sys.stderr,
        )

    def run_search() -> Trail:
        with run.machine.busy():
            return search.run()

    trail = stored_trail(run.cache / f"search-{search.key}.json", run_search)
    path.unlink(missing_ok=True)
    assert trail.best is not None
    print(_conclusion(trail), file=sys.stderr)
    [candidate] = [one for one in candidates if one.label == trail.best.candidate]
    words = [
        *_replaced(typed, candidate.overrides),
        *plan_words(trail.best.float_nodes),
        f"plan.name={quoted(run.plan.chosen_name)}",
        *([f"plan.note={quoted(trail.latency.line())}"] if trail.latency else []),
    ]
    return build_typed(words, shared), words, trail


def _candidate(run: Run, typed: Sequence[str], words: Sequence[str], shared: Shared) -> Candidate:
    if not words:
        return Candidate((), run)
    return Candidate(tuple(words), build_typed([*_replaced(typed, words), *_plan(typed)], shared))


def _replaced(typed: Sequence[str], words: Sequence[str]) -> list[str]:
    """The typed overrides with these ones in place of the same keys, and without a plan."""
    keys = {_key(word) for word in words}
    groups = {key for key in keys if "." not in key}
    unchanged = [
        word
        for word in typed
        if _key(word) not in keys
        and _key(word).split(".")[0] != "plan"
        and not ("calibrator" in groups and _key(word).startswith("calibrator."))
    ]
    return [*unchanged, *words]


def _plan(typed: Sequence[str]) -> list[str]:
    return [word for word in typed if _key(word).split(".")[0] == "plan"]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _conclusion(trail: Trail) -> str:
    assert trail.best is not None
    parts = [f"plan=auto ({trail.budget}): {trail.best.candidate}, {trail.best.line()}"]
    parts[0] += f", on {trail.images}"
    if not trail.meets:
        parts.append("no trial is within the budget")
    if trail.latency:
        parts.append(f"latency: {trail.latency.line()}")
    return "; ".join(parts)
