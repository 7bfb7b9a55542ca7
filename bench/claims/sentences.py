"""The words of a verdict: which groups differ, on which axis, and the verdict's scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from bench.claims.claim import Criterion
from bench.results.row import COLUMNS

Status = Literal["supported", "refuted", "undecided"]

MOST_NAMED = 4


UNITS = {
    "difference": "metric", "winner": "metric", "relative_difference": "share of FP32",
    "restored": "share of the loss", "relative_change": "share of FP32",
    "kept": "share of FP32 kept", "ratio": "times",
}  # fmt: skip


@dataclass(frozen=True)
class GroupVerdict:
    """One group's verdict. ``p_value`` is corrected (Holm); None where there is no such test.

    ``sets`` is how many calibration sets its effect is the mean of, ``sets_low`` to ``sets_high``
    the range of their own effects (None of a single set).
    """

    setting: Mapping[str, str]
    status: Status
    effect: float
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    basis: str
    rows: tuple[str, ...]
    sets: int = 1
    sets_low: float | None = None
    sets_high: float | None = None

    def disagrees(self, threshold: float) -> bool:
        """Whether its calibration sets lie on both sides of the threshold."""
        low, high = self.sets_low, self.sets_high
        return low is not None and high is not None and low < threshold < high


def is_corrected(groups: Sequence[GroupVerdict]) -> bool:
    return len(groups) > 1 and groups[0].p_value is not None


def by_status_and_values(
    by_status: Mapping[str, Sequence[GroupVerdict]],
    groups: Sequence[GroupVerdict],
    test: Criterion,
    axes: Sequence[str],
) -> str:
    """How many groups are of each status, and which."""
    parts = []
    for status, alike in by_status.items():
        if alike:
            verdict = why_undecided(alike, test) if status == "undecided" else status
            parts.append(f"{verdict} in {len(alike)} of {len(groups)} ({values_on(alike, axes)})")
    return capitalized("; ".join(parts) + ".")


def basis_of(groups: Sequence[GroupVerdict]) -> str:
    """What the intervals are based on, and how many cases have none."""
    sure = [group for group in groups if group.ci_low is not None]
    bases = ", ".join(dict.fromkeys(group.basis for group in sure))
    basis = f" Intervals: {bases}." if bases else ""
    missing = len(groups) - len(sure)
    return basis + (f" Left out: {missing} without an interval." if sure and missing else "")


def on_models(groups: Sequence[GroupVerdict]) -> str:
    """As in "on this model": a verdict is about no other models."""
    count = _count(groups, "model")
    return "on this model" if count == 1 else f"on {count} models"


def models(groups: Sequence[GroupVerdict]) -> str:
    count = _count(groups, "model")
    return "1 model" if count == 1 else f"{count} models"


def configurations(groups: Sequence[GroupVerdict]) -> str:
    if len(groups) == 1:
        return "the one configuration measured"
    return f"{len(groups)} configurations of {models(groups)}"


def _count(groups: Sequence[GroupVerdict], *axes: str) -> int:
    return len({tuple(group.setting.get(axis, "") for axis in axes) for group in groups})


def disagreement(groups: Sequence[GroupVerdict], test: Criterion) -> list[str]:
    """The sentence about undecided configurations whose calibration sets disagree, if any."""
    apart = [g for g in groups if g.status == "undecided" and g.disagrees(test.threshold)]
    if not apart:
        return []
    worst = max(apart, key=lambda group: (group.sets_high or 0) - (group.sets_low or 0))
    low, high = (in_unit(end, test) for end in (worst.sets_low or 0.0, worst.sets_high or 0.0))
    return [
        f"It varies with the calibration set: in {len(apart)} undecided "
        f"{'configuration' if len(apart) == 1 else 'configurations'} the sets lie on both sides of "
        f"{limit(test)}; the widest range is {low} to {high}."
    ]


def in_unit(value: float, test: Criterion) -> str:
    """An effect in its unit."""
    if test.quantity == "ratio":
        return f"{value:.3g}x"
    return f"{100 * value:+.1f} %" if "share" in UNITS[test.quantity] else f"{value:+.3f}"


def scope(groups: Sequence[GroupVerdict], test: Criterion) -> str:
    """The scope of a verdict: models, images and calibration sets."""
    names = list(dict.fromkeys(group.setting.get("model", "") for group in groups))
    which = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} models"
    if test.quantity == "ratio":
        return f"Scope: {which}, timed here."
    images = list(
        dict.fromkeys(
            (group.setting.get("dataset", ""), group.setting.get("dataset_fingerprint", ""),
             group.setting.get("n_images", ""))
            for group in groups
        )
    )  # fmt: skip
    sets = [f"{count} images of {name}" for name, _, count in images]
    on = " and ".join(sets) if len(sets) <= MOST_NAMED else f"{len(images)} sets of images"
    fewest, most = (pick(group.sets for group in groups) for pick in (min, max))
    span = str(most) if fewest == most else f"{fewest} to {most}"
    unit = "calibration set" if most == 1 else "calibration sets"
    unknown = "; the effect of another calibration set is not known" if fewest == 1 else ""
    return f"Scope: {which} on {on}, {span} {unit} each{unknown}."


def capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def why_undecided(groups: Sequence[GroupVerdict], test: Criterion) -> str:
    if any(group.ci_low is None for group in groups):
        return "no interval"
    if test.threshold != 0:
        return f"undecided (the interval includes {limit(test)}, or Holm's correction does)"
    if all(group.ci_low == group.ci_high == group.effect == 0 for group in groups):
        return "a tie, identical image by image,"
    return "undecided (the interval includes 0, or Holm's correction does)"


def axis_name(axis: str) -> str:
    """The name of an axis in a verdict; an option of the dataset as it is typed."""
    if axis in COLUMNS:
        return COLUMNS[axis].verdict
    return axis if "." in axis else axis.replace("_", " ")


def limit(test: Criterion) -> str:
    if test.quantity == "ratio":
        return f"{test.threshold:g}x"
    return (
        f"{100 * test.threshold:g} %" if "share" in UNITS[test.quantity] else f"{test.threshold:g}"
    )


def opposite(expect: str) -> str:
    return "below" if expect == "above" else "above"


def splitting(groups: Sequence[GroupVerdict]) -> tuple[tuple[str, ...], bool]:
    """The one or two axes whose values best separate the groups' verdicts, and whether they
    separate all of them.

    Among equally good axes the one with the fewest values is taken; names of models and plain
    columns come before options of the dataset, and these before hashes.
    """
    axes = dict.fromkeys(axis for group in groups for axis in group.setting)
    varied = [axis for axis in axes if len({group.setting.get(axis, "") for group in groups}) > 1]
    varied.sort(key=_plainness)
    if not varied:
        return ("something that no column records",), False
    choices = [*combinations(varied, 1), *combinations(varied, 2)]
    best = min(
        choices,
        key=lambda chosen: (_misfits(groups, chosen), len(chosen), _count(groups, *chosen)),
    )
    return best, not _misfits(groups, best)


def _plainness(axis: str) -> int:
    if axis in COLUMNS and COLUMNS[axis].roles & {"fingerprint", "condition"}:
        return 3
    return 0 if axis in ("model", "dataset") else 2 if "." in axis else 1


def _misfits(groups: Sequence[GroupVerdict], axes: Sequence[str]) -> int:
    """Groups whose verdict is not that of most groups with the same values on these axes."""
    cells: dict[tuple[str, ...], list[str]] = {}
    for group in groups:
        values = tuple(group.setting.get(axis, "") for axis in axes)
        cells.setdefault(values, []).append(group.status)
    return sum(len(cell) - max(map(cell.count, cell)) for cell in cells.values())


def values_on(groups: Sequence[GroupVerdict], axes: Sequence[str], most: int = 4) -> str:
    """The groups' values on these axes: 'yolov8n all, yolov8n float_head'."""
    values = dict.fromkeys(
        " ".join(group.setting.get(axis, "") or "default" for axis in axes) for group in groups
    )
    shown = [*values][:most]
    rest = len(values) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
