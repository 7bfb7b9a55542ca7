"""How much of a large sweep its page shows: what a reader looks through, and a browser opens at
once. Every answer is there, and the rest is in ``table.csv``."""

from __future__ import annotations

WHOLE = 1_000
"""Runs of a sweep whose page lists them all."""

LISTED = 50
"""Of a larger one the runs of each group that are listed: those recommended, then the least
lossy."""

DRAWN = 2
"""Of a larger one the groups, in the order of the table, that have figures and losses: they cost
seconds each."""


def listed_of(runs: int) -> int | None:
    """How many runs of a group are listed where the sweep has so many; None for all."""
    return None if runs <= WHOLE else LISTED


def drawn_of(runs: int) -> int | None:
    """The same of groups that are drawn."""
    return None if runs <= WHOLE else DRAWN
