"""What to do after the answer, as commands for this model and this dataset."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.claims.judgements import Record, records_of
from bench.report.caveats import CLIPPED
from bench.report.choice import Choice
from bench.report.reproduce import typed_words
from bench.report.result import Result
from bench.report.wording import plural

MOST = 6

ENOUGH_SETS = 3
"""Calibration sets that a recommended row should have."""

FEW_CALIBRATION_IMAGES = 256

_OF_ONE_RUN = ("sweep.out", "sweep.cache", "sweep.locks", "sweep.race", "also_build", "tracking")
"""Keys that a diagnosis or a bundle does not take."""


@dataclass(frozen=True)
class NextStep:
    """``what`` to do, and why; ``command`` to paste, "" where there is none."""

    what: str
    command: str = ""


def next_steps(
    best: Result, results: Sequence[Result], choice: Choice, rows: pd.DataFrame
) -> tuple[NextStep, ...]:
    """The next steps, the most useful first; ``rows`` are the tidy, measured rows of a group."""
    if best.rows[0]["measured_on"]:  # its rows came back from a kit: they are made elsewhere
        return ()
    steps = [
        *_deploy(best, choice),
        *_settle(best, results, choice),
        *_declare(rows),
        *_plans(best, choice, rows),
        *_layers(best, choice),
        *_elsewhere(best, choice),
    ]
    return tuple(steps[:MOST])


def _deploy(best: Result, choice: Choice) -> list[NextStep]:
    if choice.fit == "outside" or not best.overrides or best.plan_label.startswith("file"):
        return []
    return [
        NextStep(
            "Deploy it: this writes the Q/DQ file, the calibration cache, the commands for "
            "TensorRT, and a check for the target machine",
            shlex.join(["int8bench", "bundle", _folder(best)]),
        )
    ]


def _settle(best: Result, results: Sequence[Result], choice: Choice) -> list[NextStep]:
    """The measurement that would decide most of the open comparisons."""
    rivals = [one for one in results if choice.standings[one.run_key].kind == "open"]
    if rivals:
        left = f"{plural(len(rivals), 'configuration')} may be as good as the recommended one"
        if _typed(best).get("evaluation.images", "null") != "null":
            return [
                NextStep(
                    f"Measure on all validation images: {left}",
                    _sweep(_covering([best, *rivals]), {"evaluation.images": "null"}),
                )
            ]
        needed = _images_needed(rivals, choice, int(best.rows[0]["n_images"]))
        if needed:
            return [
                NextStep(
                    f"Give about {needed:,} labelled validation images (now "
                    f"{int(best.rows[0]['n_images']):,}) to decide: {left}"
                )
            ]
    fixed = best.plan_label.startswith("file") or str(best.rows[0]["calibration_strategy"]) not in (
        "random",
        "balanced",
    )
    if best.sets < ENOUGH_SETS and not fixed:
        seeds = ",".join(map(str, range(ENOUGH_SETS)))
        return [
            NextStep(
                f"Repeat it with other calibration images: {plural(best.sets, 'calibration set')} "
                "cannot show how much the accuracy depends on them",
                _sweep([_typed(best)], {"calibration.seed": seeds}),
            )
        ]
    return []


def _images_needed(rivals: Sequence[Result], choice: Choice, n_images: int) -> int:
    """How many images would narrow the nearest open difference to the margin, as the interval's
    width is proportional to 1 / sqrt(images). 0 where this cannot be estimated."""
    needed = []
    for rival in rivals:
        more = choice.standings[rival.run_key].more
        half = (more.high - more.low) / 2
        goal = max(choice.margin, abs(more.estimate))
        if math.isfinite(half) and half > goal > 0:
            needed.append(n_images * (half / goal) ** 2)
    return _rounded(min(needed)) if needed else 0


def _rounded(count: float) -> int:
    """Rounded to two digits, since it is an estimate."""
    scale = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return int(math.ceil(count / scale) * scale)


def _declare(rows: pd.DataFrame) -> list[NextStep]:
    """The calibrator that clips the network's input most, with the input's range declared."""
    clipped = rows[
        (rows["input_amax"] < CLIPPED * rows["input_true_amax"]) & (rows["plan"] != "file")
    ]
    if clipped.empty or "declared" in set(rows["input_range"]):
        return []
    worst = records_of(clipped.sort_values("input_amax", kind="stable").head(1))[0]
    return [
        NextStep(
            f"Give the input its true range: {worst['calibrator_label']} clips it at "
            f"{float(worst['input_amax']):.3f} of {float(worst['input_true_amax']):.3f}",
            _sweep([_words_of(worst)], {"input_range": "declared"}),
        )
    ]


def _plans(best: Result, choice: Choice, rows: pd.DataFrame) -> list[NextStep]:
    """Plans with layers in float, if the measured plans lose accuracy and these were not tried."""
    if not (best.loses or choice.fit == "outside") or best.plan_label.startswith("file"):
        return []
    tried = set(rows["plan"])
    detector = bool((rows["task"] == "detection").any())
    named = ["float_head", "float_first_and_head"] if detector else ["float_first"]
    missing = [plan for plan in named if plan not in tried]
    if missing:
        return [
            NextStep(
                "Keep the layers that usually lose most in float",
                _sweep([_typed(best)], {"plan": ",".join(missing)}),
            )
        ]
    if any(str(plan).startswith("auto") for plan in tried):
        return []
    return [
        NextStep(
            "Search the layers to keep in float: the most INT8 that loses at most 1 %",
            _sweep([_typed(best)], {"plan": "auto", "plan.max_loss": "0.01"}),
        )
    ]


def _layers(best: Result, choice: Choice) -> list[NextStep]:
    if not (best.loses or choice.fit == "outside") or best.plan_label.startswith("file"):
        return []
    words = {k: v for k, v in _typed(best).items() if k not in _OF_ONE_RUN and k != "plan"}
    return [
        NextStep(
            "See which layers cause the loss, and why",
            shlex.join(["int8bench", "diagnose", *_joined(words)]) if words else "",
        )
    ]


def _elsewhere(best: Result, choice: Choice) -> list[NextStep]:
    """Latency of this machine does not foretell that of another."""
    if choice.fit == "outside" or not best.overrides or best.plan_label.startswith("file"):
        return []
    return [
        NextStep(
            "Measure accuracy and latency on the machine where it will run",
            shlex.join(["int8bench", "kit", _folder(best)]),
        )
    ]


def _folder(result: Result) -> str:
    row = result.rows[0]
    return _typed(result).get("sweep.out", f"results/{row['model']}-{row['dataset']}")


def _typed(result: Result) -> dict[str, str]:
    return _words_of({"overrides": result.overrides})


def _words_of(row: Mapping[str, object] | Record) -> dict[str, str]:
    """The overrides typed for a row: key -> value."""
    pairs = (word.partition("=") for word in typed_words(str(row["overrides"])))
    return {key: value for key, _, value in pairs}


def _covering(results: Sequence[Result]) -> list[dict[str, str]]:
    """The overrides of the first run and of all runs with the same keys: one command cannot cover
    the others. None where the first is a serialized engine, which no sweep measures."""
    if results[0].serialized:
        return []
    words = [_typed(result) for result in results if not result.serialized]
    return [typed for typed in words if typed.keys() == words[0].keys()]


def _sweep(runs: Sequence[Mapping[str, str]], changes: Mapping[str, str]) -> str:
    """A sweep over every value of these runs, with ``changed`` keys; "" where nothing was typed."""
    values: dict[str, dict[str, None]] = {}
    for words in runs:
        for key, value in words.items():
            values.setdefault(key, {})[value] = None
    if not values:
        return ""
    joined = {key: ",".join(seen) for key, seen in values.items()}
    dropped = {"plan", "plan.name", "plan.float_selectors"} if "plan" in changes else set()
    unchanged = {key: value for key, value in joined.items() if key.lstrip("+") not in dropped}
    return shlex.join(["int8bench", "sweep", *_joined({**unchanged, **changes})])


def _joined(words: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in words.items()]
