"""In which order a run's systems are timed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.run import measure


class Recorder:
    """A session that writes down when it ran."""

    def __init__(self, name: str, on_gpu: bool, calls: list[str]) -> None:
        self.name, self.on_gpu, self._calls = name, on_gpu, calls

    def run(self, batch: object) -> None:
        self._calls.append(self.name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``calls(gpu=True, baseline_gpu=False)``: the names of what was run, in order."""
    monkeypatch.setattr(measure, "_rounds", lambda run: 10)
    run: Any = SimpleNamespace(
        measurement=SimpleNamespace(batch_size=1, seconds=0.0), baseline_engine="baseline"
    )
    images: Any = SimpleNamespace(batch=lambda start, size: np.zeros((1, 3, 4, 4), np.float32))

    def time(gpu: bool, baseline_gpu: bool) -> tuple[list[str], list[str]]:
        made: list[str] = []

        def floats(run: object, engine: str) -> dict[str, Recorder]:
            if engine == "baseline":
                return {"fp32": Recorder("baseline", baseline_gpu, made)}
            return {name: Recorder(name, gpu, made) for name in ("fp32", "fp16")}

        monkeypatch.setattr(measure, "float_sessions", floats)
        engine: Any = "engine"
        session: Any = Recorder("int8", gpu, made)
        times = measure.time_session(run, engine, session, images)
        return made, list(times)

    return time


def test_the_processor_never_runs_between_the_rounds_of_a_gpu(calls: Any) -> None:
    """It would let the GPU's clock fall."""
    made, timed = calls(gpu=True, baseline_gpu=False)
    assert set(timed) == {"int8", "fp32", "fp16", "baseline"}
    first = made.index("baseline")
    assert set(made[:first]) == {"int8", "fp32", "fp16"}
    assert set(made[first:]) == {"baseline"}


@pytest.mark.parametrize("gpu", [True, False])
def test_what_runs_on_one_device_is_timed_in_turn(calls: Any, gpu: bool) -> None:
    made, timed = calls(gpu=gpu, baseline_gpu=gpu)
    assert set(timed) == {"int8", "fp32", "fp16", "baseline"}
    rounds = made[-40:]  # after the warm-up
    assert all(set(rounds[at : at + 4]) == set(timed) for at in range(0, 40, 4))
