"""The verdicts on published claims, and published cases beside the rows, as text to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.claims.record import read_references, read_verdicts
from bench.claims.reference import Comparison
from bench.claims.verdict import Verdict
from bench.report.wording import MINUS, MISSING, signed


@dataclass(frozen=True)
class VerdictLine:
    """One claim as a line of a table; ``kind`` is the first word of its verdict."""

    verdict: Verdict
    kind: str
    effect: str
    interval: str

    @property
    def measured(self) -> bool:
        return self.kind != "not"


@dataclass(frozen=True)
class ClaimsRecord:
    """A folder's verdicts and published cases; both are empty where none were judged."""

    lines: tuple[VerdictLine, ...] = ()
    references: tuple[Comparison, ...] = ()

    @property
    def measured(self) -> list[VerdictLine]:
        return [line for line in self.lines if line.measured]

    @property
    def missing(self) -> list[VerdictLine]:
        return [line for line in self.lines if not line.measured]


NO_CLAIMS = ClaimsRecord()


def read_record(folder: Path) -> ClaimsRecord:
    """Read ``claims.json`` and ``references.json``; DataError for another kind of file."""
    return ClaimsRecord(lines_of(read_verdicts(folder)), read_references(folder))


def lines_of(verdicts: tuple[Verdict, ...]) -> tuple[VerdictLine, ...]:
    return tuple(
        VerdictLine(
            verdict,
            verdict.verdict.split()[0],
            _range(verdict.effect_low, verdict.effect_high, verdict.unit),
            _span(verdict),
        )
        for verdict in verdicts
    )


def amount(value: float | None, unit: str) -> str:
    """An effect with its unit.

    >>> amount(0.123, "share of FP32"), amount(0.9, "share of FP32 kept"), amount(180.2, "times")
    ('+12.3 % of FP32', '90.0 % of FP32', '180x')
    """
    if value is None:
        return MISSING
    if unit == "times":
        return f"{value:,.0f}x" if value >= 100 else f"{value:.3g}x"
    if unit.endswith(" kept"):
        return f"{100 * value:.1f} %{unit.removeprefix('share').removesuffix(' kept')}"
    return percent(value) + unit.removeprefix("share") if "share" in unit else signed(value)


def percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:+.1f} %".replace("-", MINUS)


def _span(verdict: Verdict) -> str:
    if verdict.ci_low is None or verdict.ci_high is None:
        return MISSING
    return _range(verdict.ci_low, verdict.ci_high, verdict.unit, with_unit=False)


def _range(low: float | None, high: float | None, unit: str, with_unit: bool = True) -> str:
    """One effect, or the range of several: "+1.2 to +3.4 % of FP32"."""
    first, last = amount(low, unit), amount(high, unit)
    ends = (" of FP32", " of the loss")
    bare, plain = first, last
    for end in ends:
        bare, plain = bare.removesuffix(end), plain.removesuffix(end)
    if with_unit:
        return last if low == high else f"{bare} to {last}"
    return f"{bare} to {plain}"
