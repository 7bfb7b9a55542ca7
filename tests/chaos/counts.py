"""What is counted of the troubles that a sweep is put through."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

MUST_BE_ZERO = (
    "rows_lost", "rows_torn", "rows_doubled", "rows_repeated", "leftovers", "silently_wrong",
    "untold", "tracebacks", "hangs", "over_memory", "orphans",
)  # fmt: skip


@dataclass
class Counts:
    """``kills``, ``damages``, ``troubles`` and ``malformed_inputs`` are what was done; the rest is
    what came of it, and should be 0.

    A row is lost if a finished one is gone or no sweep makes it again, torn if its file or one that
    belongs to it is a part of one, doubled if a table has it twice, and repeated if it was made
    again although it was finished. ``untold`` are damages that nobody named. ``problems`` says each
    in a line.
    """

    seed: int
    kills: int = 0
    damages: int = 0
    troubles: int = 0
    malformed_inputs: int = 0
    rows_lost: int = 0
    rows_torn: int = 0
    rows_doubled: int = 0
    rows_repeated: int = 0
    leftovers: int = 0
    silently_wrong: int = 0
    untold: int = 0
    tracebacks: int = 0
    hangs: int = 0
    over_memory: int = 0
    orphans: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def all_well(self) -> bool:
        return not any(getattr(self, name) for name in MUST_BE_ZERO)

    def add(self, name: str, what: str, number: int = 1) -> None:
        """Count a problem, and say which."""
        if number:
            setattr(self, name, getattr(self, name) + number)
            self.problems.append(f"{name}: {what}")
            print(self.problems[-1], file=sys.stderr, flush=True)

    def take(self, others: Mapping[str, int]) -> None:
        """Add what another part counted."""
        for name, number in others.items():
            if name in asdict(self):
                setattr(self, name, getattr(self, name) + number)
            elif number:
                self.problems.append(f"{name}: {number}")

    def to_json(self) -> dict[str, object]:
        return asdict(self)
