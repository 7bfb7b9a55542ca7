"""What every refused bundle has in common."""

from __future__ import annotations

from tests.e2e.command import Ended


def refused(said: Ended, *words: str) -> None:
    """One line that says what and the mend, status 2."""
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
