"""An interrupt: one line, status 130, and whole rows alone."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.command import CUSTOM, Bench, Ended, wait_for


def test_an_interrupt_is_one_line_and_keeps_whole_rows(bench: Bench) -> None:
    slow = [*CUSTOM, "timing.rounds=1000000", "timing.seconds=0.3"]
    process = bench.start("--multirun", *slow, "calibration.seed=range(20)")
    wait_for(lambda: bench.rows)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 130, err
    assert "interrupted" in Ended(130, out, err).one_line
    assert 1 <= len(bench.table) < 20


@pytest.mark.parametrize("error", [AttributeError, OSError, KeyboardInterrupt])
def test_an_interrupt_that_became_another_error_is_told_as_one(
    error: type[BaseException], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise error("a clean-up that failed") from interrupt

    monkeypatch.setattr("bench.cli.app.hydra.main", lambda **_: lambda _: interrupted)
    handler = signal.getsignal(signal.SIGINT)
    ended = bench(*CUSTOM)
    assert ended.status == 130
    assert "interrupted" in ended.one_line
    assert signal.getsignal(signal.SIGINT) is handler
