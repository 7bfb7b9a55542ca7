"""A diagnosis's numbers as its page shows them: text, sort key, and missing values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.report.wording import MINUS, MISSING
from bench.results.diagnosis import Diagnosis, Effect
from bench.results.noise_shares import SHOWN_FIRST

INFINITE = "∞"

LEAST_SHARE = 1e-6
"""Smaller shares are shown as "<" this."""


@dataclass(frozen=True)
class Cell:
    """A table's cell: ``key`` is what it sorts by, "" for a missing value, which comes last."""

    text: str
    key: str = ""
    note: str = ""
    least: bool = False
    bad: bool = False

    @property
    def is_missing(self) -> bool:
        return self.text == MISSING


NOTHING = Cell(MISSING)


def first_set(diagnosis: Diagnosis) -> str:
    """The set of images for values that are shown for one set only; "" where there is none."""
    sets = sets_of(diagnosis)
    return next((name for name in (*SHOWN_FIRST, *sets) if name in sets), "")


def sets_of(diagnosis: Diagnosis) -> tuple[str, ...]:
    """The sets of images that anything was measured on."""
    measured = (diagnosis.all_int8, *(layer.only for layer in diagnosis.layers))
    return tuple(dict.fromkeys(name for effects in measured for name in effects))


def set_words(name: str) -> str:
    """
    >>> set_words("other"), set_words("calibration")
    ('other images', 'calibration images')
    """
    return f"{name} images".strip()


def worst_part(effect: Effect | None) -> tuple[str, float] | None:
    """The part of the outputs with the lowest SQNR, and that SQNR: inf without noise."""
    if effect is None:
        return None
    parts = {part: math.inf if db is None else db for part, db in effect.sqnr_db.items()}
    measured = {part: db for part, db in parts.items() if not math.isnan(db)}
    return min(measured.items(), key=lambda item: item[1]) if measured else None


def noise_of(effects: Mapping[str, Effect], images: str) -> float | None:
    """Noise over signal; None where it was not measured, or is not a number."""
    effect = effects.get(images)
    noise = None if effect is None else effect.noise
    return noise if noise is not None and math.isfinite(noise) else None


def sqnr_cell(effect: Effect | None) -> Cell:
    """SQNR of the worst part; its note says all parts."""
    worst = worst_part(effect)
    if worst is None or effect is None:
        return NOTHING
    several = len(effect.sqnr_db) > 1
    return Cell(decibels(worst[1]), str(worst[1]), parts_text(effect) if several else "")


def parts_text(effect: Effect) -> str:
    """
    >>> parts_text(Effect({"boxes": 23.06, "scores": None}, 0.1, 0.0))
    'boxes 23.1 dB, scores ∞ dB'
    """
    shown = {part: math.inf if db is None else db for part, db in effect.sqnr_db.items()}
    return ", ".join(f"{part} {decibels(db)} dB".strip() for part, db in shown.items())


def decibels(value: float, sign: str = "") -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return INFINITE if value > 0 else f"{MINUS}{INFINITE}"
    text = f"{value:{sign}.1f}"
    return (text if float(text) else "0.0").replace("-", MINUS)


def decibels_cell(value: float | None, sign: str = "") -> Cell:
    if value is None or math.isnan(value):
        return NOTHING
    return Cell(decibels(value, sign), str(value))


def percent_text(share: float) -> str:
    """A share in per cent to two digits, without the per cent sign.

    >>> percent_text(0.1234), percent_text(0.00012), percent_text(3e-9), percent_text(0.0)
    ('12', '0.012', '<0.0001', '0')
    """
    if not math.isfinite(share):
        return MISSING
    if share <= 0:
        return "0"
    if share < LEAST_SHARE:
        return f"<{100 * LEAST_SHARE:.4f}"
    rounded = float(f"{100 * share:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.6f}".rstrip("0").rstrip(".")


def share_cell(share: float | None) -> Cell:
    """A share in per cent, with one digit: a column that is read down."""
    if share is None or not math.isfinite(share):
        return NOTHING
    return Cell(f"{100 * share:.1f}".replace("-", MINUS), str(share))


def small_share_cell(share: float) -> Cell:
    """A share that may be tiny, in per cent."""
    return Cell(percent_text(share), str(share)) if math.isfinite(share) else NOTHING


def number_cell(value: float | None, digits: int = 3) -> Cell:
    if value is None or not math.isfinite(value):
        return NOTHING
    return Cell(number_text(value, digits), str(value))


def number_text(value: float, digits: int = 4) -> str:
    """
    >>> number_text(12.34567), number_text(-0.00001234), number_text(float("nan"))
    ('12.35', '−1.234e−05', '–')
    """
    if not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}g}".replace("-", MINUS)


def count_cell(count: int, bad: bool = False) -> Cell:
    return Cell(f"{count:,}", str(count), bad=bad)
