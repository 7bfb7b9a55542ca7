"""A check tests one thing on this machine, and reports the result and the fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.errors import BenchError
from bench.timing import stopwatch

Status = Literal["pass", "absent", "fail"]
"""``absent``: not on this machine, and not needed by the rest; ``fail``: present, but wrong."""


@dataclass(frozen=True)
class Finding:
    """The result of a check (``found``), and the fix (``mend``) where it is not ``pass``.

    ``figures`` are the measured numbers; they are written to the JSON only. The names of the fields
    are keys of that JSON.
    """

    status: Status
    found: str
    mend: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A finding with its check's name and duration in seconds, as the JSON has it."""

    check: str
    status: Status
    found: str
    mend: str
    figures: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Check:
    """A name and a function. Any exception of the function is a failure; other checks still run."""

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
            return Finding("fail", str(error), "Follow the message")
        except Exception as error:  # one broken check must not stop the others
            what = " ".join(f"{type(error).__name__}: {error}".split())
            return Finding("fail", what, "Report it, with the file that --json FILE writes")
