"""No intermediate result made by other code, libraries or arithmetic is ever used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import environment
from bench.cli.compose import build_run
from bench.run.measure import baseline_of, validation_images
from bench.run.ranges import find_run_ranges
from bench.run.spec import Run
from tests.composing import composed
from tests.e2e.command import CUSTOM, QUICK, ROOT

pytestmark = pytest.mark.e2e

RUN = [*CUSTOM, "engine=onnxruntime", "calibrator=minmax"]
FACTS = ("fp32", "int8", "delta", "input_amax", "sqnr_db")
KINDS = ("pixels", "fp32", "statistics")


@pytest.fixture
def run(tmp_path: Path, files: Path) -> Callable[[], Run]:
    """A run of a process of its own, as it were, with one cache for all of them."""
    given = [o.replace("FILES", str(files)) for o in (*RUN, *QUICK)]
    return lambda: build_run(composed(*given, f"sweep.cache={tmp_path}/cache"))


def use(run: Run) -> None:
    baseline_of(run, validation_images(run))
    find_run_ranges(run)


def stored(folder: Path) -> dict[str, int]:
    return {kind: len(list(folder.glob(f"{kind}-*.np?"))) for kind in KINDS}


def test_the_same_again_stores_nothing_new(run: Callable[[], Run], tmp_path: Path) -> None:
    for _ in range(2):
        use(run())
        assert stored(tmp_path / "cache") == {"pixels": 1, "fp32": 1, "statistics": 1}


def test_an_edit_during_a_process_concerns_the_next_one(
    run: Callable[[], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one goes on with the code that it has: what it stores must not bear the new key."""
    use(run())
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda own: read(own) + b"#" * (own.suffix == ".py"))
    use(run())
    assert stored(tmp_path / "cache") == {"pixels": 1, "fp32": 1, "statistics": 1}


@pytest.mark.parametrize(
    ("name", "told", "expected"),
    [
        ("arithmetic", "x86_64 none", {"pixels": 1, "fp32": 2, "statistics": 2}),
        ("versions", "numpy 1.0", {"pixels": 1, "fp32": 2, "statistics": 2}),
    ],
)
def test_another_processor_or_library_shares_no_sums_of_floats(
    name: str,
    told: str,
    expected: dict[str, int],
    run: Callable[[], Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(run())
    monkeypatch.setattr(environment, name, lambda *_: told)
    use(run())
    assert stored(tmp_path / "cache") == expected


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to be edited."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("bench", "conf"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def python(checkout: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        check=True,
        capture_output=True,
    )


USE = """
import sys
from bench.run.ranges import find_run_ranges
from bench.cli.compose import build_typed
from bench.run.measure import baseline_of, validation_images

run = build_typed(sys.argv[1:])
baseline_of(run, validation_images(run))
find_run_ranges(run)
"""
"""What ``use`` does, in a process of its own."""


@pytest.mark.slow
def test_an_edit_makes_anew_what_the_edited_code_makes(
    checkout: Path, files: Path, tmp_path: Path
) -> None:
    given = [o.replace("FILES", str(files)) for o in (*RUN, *QUICK)]
    found = []
    for edited in (
        "",
        "report/page.py",
        "calibration/tap.py",
        "engine/onnxrt.py",
        "data/shapes.py",
    ):
        if edited:
            path = checkout / "bench" / edited
            path.write_text(path.read_text() + "# edited\n")
        python(checkout, "-c", USE, *given, f"sweep.out={tmp_path}", f"sweep.cache={tmp_path}")
        found.append(tuple(stored(tmp_path).values()))
    assert found == [(1, 1, 1), (1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 3, 3)]


@pytest.mark.slow
def test_an_edited_package_finds_what_it_finds_with_an_empty_cache(
    checkout: Path, tmp_path: Path, files: Path
) -> None:
    """Other values of the same pixels, by an edit of ``normalise``: FP32 changes with them."""

    def row(cache: str, out: str) -> dict[str, Any]:
        typed = [o.replace("FILES", str(files)) for o in (*RUN, *QUICK)]
        places = [f"sweep.cache={tmp_path}/{cache}", f"sweep.out={tmp_path}/{out}"]
        python(checkout, "-m", "bench", *typed, *places, "dataset.validation_images=40")
        (path,) = (tmp_path / out / "rows").glob("*.json")
        made: dict[str, Any] = json.loads(path.read_text())["row"]
        return made

    before = row("cache", "before")
    edited = checkout / "bench" / "data" / "preprocess.py"
    text = edited.read_text()
    assert text.count("        return planes\n") == 1
    edited.write_text(text.replace("        return planes\n", "        return 1 - planes\n"))
    after, alone = row("cache", "after"), row("empty", "alone")
    assert before["run_key"] == after["run_key"]  # RESULT_VERSION is what makes rows anew
    assert {name: after[name] for name in FACTS} == {name: alone[name] for name in FACTS}
    assert after["fp32"] != before["fp32"]
    assert after["input_amax"] != before["input_amax"]
