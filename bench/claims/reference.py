"""Cases that others published, beside a sweep's rows of the same family: never mixed with them.

A published number was measured on another model file, other images, another tool. So only its
direction is compared: which calibrator wins, or whether INT8 loses at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bench.claims.claim import check_fields, read_yaml, sources_of
from bench.environment import CONF
from bench.errors import ConfigError
from bench.results.row import columns_with

FAMILIES: Mapping[str, tuple[str, str]] = {
    "yolo": ("detection", "*yolo*"),
    "classifier": ("classification", "*"),
    "efficientdet": ("detection", "*efficientdet*"),
    "retinanet": ("detection", "*retinanet*"),
    "text_detector": ("detection", "*ocr*"),
}
"""Family -> task and pattern of the model's name."""

Agreement = Literal["agrees", "disagrees", "undecided", "not measured"]


@dataclass(frozen=True)
class PublishedResult:
    """One published pair of numbers. ``told`` is the calibrator as the source names it.

    ``calibrator`` is our name for it; empty where the source names none, or one that has no
    counterpart here.
    """

    model: str
    told: str
    fp: float
    int8: float
    calibrator: str = ""

    @property
    def relative(self) -> float:
        """INT8 minus floating point, as a share of the latter."""
        return (self.int8 - self.fp) / self.fp


@dataclass(frozen=True)
class Reference:
    """One published case; ``images`` are its calibration images, as far as stated."""

    id: str
    title: str
    family: str
    tool: str
    version: str
    dataset: str
    metric: str
    images: str
    figures: tuple[PublishedResult, ...]
    source: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class ComparedResult:
    """One published result, and the mean change of our rows with its calibrator."""

    figure: PublishedResult
    own: float | None
    n_rows: int


@dataclass(frozen=True)
class Comparison:
    """A published case beside the sweep's rows."""

    case: Reference
    lines: tuple[ComparedResult, ...]
    agreement: Agreement
    text: str
    rows: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Comparison:
        """Raises TypeError or KeyError for data that is not a stored comparison."""
        case = content["case"]
        lists = {
            "figures": tuple(PublishedResult(**result) for result in case["figures"]),
            "source": tuple(case["source"]),
        }
        return cls(
            Reference(**{**case, **lists}),
            tuple(
                ComparedResult(PublishedResult(**line["figure"]), line["own"], line["n_rows"])
                for line in content["lines"]
            ),
            content["agreement"],
            content["text"],
            tuple(content["rows"]),
        )


def load_references(folder: Path = CONF / "reference") -> tuple[Reference, ...]:
    """Every published case of a folder, by name; ConfigError for a file that is not one."""
    return tuple(_reference(path) for path in sorted(folder.glob("*.yaml")))


def compare_references(cases: Sequence[Reference], table: pd.DataFrame) -> tuple[Comparison, ...]:
    """Each case beside the measured rows of its family."""
    numbers = table[["delta", "fp32", "ci_low", "ci_high"]].notna().all(axis=1)
    measured = table[(table["status"] == "ok") & numbers]
    return tuple(_compare(case, measured) for case in cases)


def _compare(case: Reference, measured: pd.DataFrame) -> Comparison:
    task, pattern = FAMILIES[case.family]
    ours = [fnmatchcase(str(name).lower(), pattern) for name in measured["model"]]
    rows = measured[pd.Series(ours, index=measured.index, dtype=bool) & (measured["task"] == task)]
    lines = tuple(_compared(result, rows) for result in case.figures)
    agreement, text = _agreement(case, rows)
    names = [result.calibrator for result in case.figures if result.calibrator]
    used = rows[rows["calibrator"].isin(names)]
    return Comparison(case, lines, agreement, text, tuple(str(key) for key in used["run_key"]))


def _compared(result: PublishedResult, rows: pd.DataFrame) -> ComparedResult:
    matching = _of(rows, result.calibrator)
    mean = float((matching["delta"] / matching["fp32"]).mean()) if len(matching) else None
    return ComparedResult(result, mean, len(matching))


def _agreement(case: Reference, rows: pd.DataFrame) -> tuple[Agreement, str]:
    """Compare the winner if the case compares calibrators that were run here, else the loss."""
    known = [result for result in case.figures if len(_of(rows, result.calibrator))]
    if not known:
        names = sorted({result.calibrator for result in case.figures if result.calibrator})
        return "not measured", (
            f"No row of the family {case.family.replace('_', ' ')} with {' or '.join(names)}."
            if names
            else "Its calibrator is not stated, or has no counterpart here."
        )
    if len({result.calibrator for result in known}) > 1:
        return _same_winner(known, rows)
    return _same_loss(known, rows)


def _same_winner(known: Sequence[PublishedResult], rows: pd.DataFrame) -> tuple[Agreement, str]:
    """Whether our pairs of rows order two calibrators as published."""
    best, worst = (pick(known, key=lambda result: result.relative) for pick in (max, min))
    alike = [
        axis for axis in columns_with("axis") if axis not in ("calibrator", "calibrator_params")
    ]
    change = rows["delta"] / rows["fp32"]
    means = change.groupby([rows["calibrator"], *(rows[axis] for axis in alike)]).mean()
    leads = (means.loc[best.calibrator] - means.loc[worst.calibrator]).dropna()
    text = (
        f"Published: {best.calibrator} ahead of {worst.calibrator} by "
        f"{100 * (best.relative - worst.relative):.1f} % of FP; here "
    )
    if leads.empty:
        return "undecided", text + "no two rows differ only in the calibrator."
    ahead, behind = int((leads > 0).sum()), int((leads < 0).sum())
    text += f"by {100 * leads.mean():+.1f} %, ahead in {ahead} of {len(leads)} pairs."
    if ahead > len(leads) / 2 and leads.mean() > 0:
        return "agrees", text
    return ("disagrees" if behind > len(leads) / 2 and leads.mean() < 0 else "undecided"), text


def _same_loss(known: Sequence[PublishedResult], rows: pd.DataFrame) -> tuple[Agreement, str]:
    """Whether INT8 loses here as published: a row decides if its interval excludes 0."""
    matching = _of(rows, known[0].calibrator)
    published = sum(result.relative for result in known) / len(known)
    losing, gaining = int((matching["ci_high"] < 0).sum()), int((matching["ci_low"] > 0).sum())
    change = 100 * (matching["delta"] / matching["fp32"])
    span = (
        f"{change.min():+.1f} to {change.max():+.1f} %"
        if len(matching) > 1
        else f"{change.iloc[0]:+.1f} %"
    )
    text = (
        f"Published: {100 * published:+.1f} % with {known[0].calibrator}; here {span}, "
        f"a loss proven in {losing} of {len(matching)} rows."
    )
    alike, against = (losing, gaining) if published < 0 else (gaining, losing)
    if alike > len(matching) / 2:
        return "agrees", text
    return ("disagrees" if against > len(matching) / 2 else "undecided"), text


def _of(rows: pd.DataFrame, calibrator: str) -> pd.DataFrame:
    if not calibrator:
        return rows.iloc[:0]
    selected: pd.DataFrame = rows[rows["calibrator"] == calibrator]
    return selected


def _reference(path: Path) -> Reference:
    content = read_yaml(path)
    required = {field.name for field in dataclasses.fields(Reference)} - {"note"}
    check_fields(path, content, Reference, required)
    if content["id"] != path.stem:
        raise ConfigError(f"{path} has the id {content['id']}", f"Name it {path.stem}")
    if content["family"] not in FAMILIES:
        raise ConfigError(
            f"{path}: family={content['family']} is unknown", f"Use {', '.join(FAMILIES)}"
        )
    fields = {
        name: " ".join(str(content.get(name) or "").split())
        for name in required | {"note"}
        if name not in ("figures", "source")
    }
    return Reference(
        **fields,
        figures=tuple(_published(path, result) for result in content["figures"]),
        source=sources_of(path, content),
    )


def _published(path: Path, content: Any) -> PublishedResult:
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a figure is not a mapping", "Write model, told, fp and int8")
    check_fields(path, content, PublishedResult, {"model", "told", "fp", "int8"})
    for name in ("fp", "int8"):
        if isinstance(content[name], bool) or not isinstance(content[name], (int, float)):
            raise ConfigError(f"{path}: {name}={content[name]} is not a number", "Give a number")
    return PublishedResult(**content)
