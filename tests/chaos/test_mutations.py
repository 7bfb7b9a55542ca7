"""A few of the malformed inputs of ``make chaos``, always the same, and what watches them."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.cases import CASES
from tests.chaos.ground import write_ground
from tests.chaos.mutations import Case, draw_cases, mutate
from tests.chaos.pool import run_all

QUICK = {"overrides", "image", "list", "labels", "cache", "yaml", "coco", "voc", "yolo"}
"""What is read without a sweep before it."""
CHOSEN = [case for case in draw_cases(80, 5) if case[0] in QUICK][:40]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutations") / "ground"
    write_ground(folder)
    return folder


@pytest.mark.parametrize("case", CHOSEN, ids=[f"{i}-{case[0]}" for i, case in enumerate(CHOSEN)])
def test_a_malformed_input_is_a_line_or_a_result(
    case: Case, ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ground)
    kind, file, _ = case
    path, good = ground / file, ground / f"{file}.good"
    shutil.copy(path, good)
    path.write_bytes(mutate(path.read_bytes(), case))
    try:
        CASES[kind][0]()
    finally:
        good.replace(path)


def test_equal_seeds_draw_equal_cases() -> None:
    assert draw_cases(30, 1) == draw_cases(30, 1) != draw_cases(30, 2)


def test_a_hang_a_crash_and_a_full_memory_are_told_apart() -> None:
    def wait() -> None:
        time.sleep(60)

    def crash() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fail() -> None:
        raise KeyError("unexpected")

    def fill() -> None:
        bytearray(5 * 2**30)

    cases = [lambda: None, wait, crash, fail, fill]
    ended = sorted(run_all(cases, side_by_side=2, seconds=2), key=lambda one: one.index)
    assert [one.kind for one in ended] == ["fine", "hang", "traceback", "traceback", "memory"]
    assert "KeyError: 'unexpected'" in ended[3].said
