"""A check looks at one thing on this machine, and says what it found and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.errors import BenchError
from bench.timing import stopwatch

Status = Literal["pass", "absent", "fail"]
"""``absent``: not on this machine, and not needed for what is; ``fail``: there, and not right."""


@dataclass(frozen=True)
class Finding:
    """What a check saw, and what to do about it where it is not ``pass``.

    ``figures`` stand behind what was found; they are for the JSON alone.
    """

    status: Status
    found: str
    mend: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A finding with its check's name and the seconds that it took, as the JSON has it."""

    check: str
    status: Status
    found: str
    mend: str
    figures: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Check:
    """A name and what looks; whatever that raises is a failure, and the next check goes on."""

    name: str
    look: Callable[[], Finding]

    def run(self) -> Outcome:
        with stopwatch() as watch:
            finding = self._look()
        return Outcome(self.name, **vars(finding), seconds=watch.seconds)

    def _look(self) -> Finding:
        try:
            return self.look()
        except BenchError as error:
            return Finding("fail", str(error), "Do as that says")
        except Exception as error:  # a doctor does not fall ill of what it finds
            what = " ".join(f"{type(error).__name__}: {error}".split())
            return Finding("fail", what, "Report it, with what --json FILE writes")
