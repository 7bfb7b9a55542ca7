"""How much of a large sweep its page shows, so that it stays readable and opens quickly. Every
answer is on the page; the rest is in ``table.csv``."""

from __future__ import annotations

WHOLE = 1_000
"""The page of a sweep with at most so many runs lists them all."""

LISTED = 50
"""In a larger sweep, the listed runs per group: the recommended ones, then those that lose
least."""

DRAWN = 2
"""In a larger sweep, the groups (in table order) that have figures and losses: each costs
seconds."""


def listed_of(runs: int) -> int | None:
    """How many runs of a group are listed for a sweep of this size; None for all."""
    return None if runs <= WHOLE else LISTED


def drawn_of(runs: int) -> int | None:
    """How many groups are drawn for a sweep of this size; None for all."""
    return None if runs <= WHOLE else DRAWN
