"""The command line run from a test."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.__main__ import main
from bench.cli import conclusion
from bench.engine import probe

ROOT = Path(__file__).parents[2]
QUICK = (
    "calibration.size=4", "timing.rounds=3", "timing.seconds=0", "confirm.seeds=0",
    "confirm.roundings=0",
)  # fmt: skip
"""What keeps a run short, unless the test says otherwise."""
CLASSIFIER = ["model=custom", "model.head=classifier", "model.preprocess.fit=stretch"]
SHAPES = ["dataset.validation_images=6", "dataset.calibration_images=6"]
CUSTOM = [*CLASSIFIER, "model.path=FILES/classifier.onnx", *SHAPES]
"""A tiny classifier on a few drawn scenes."""


USUAL = re.compile(
    r"runs |[0-9]+(/[0-9]+)?  |[0-9]+ runs?\b|writing table|measuring what|repeating |"
    r"\S+, [0-9]+ images"
)
"""How the lines begin that say what a sweep is at."""

PROBES = "TEST_PROBES"
"""The variable that names the folder of ``probed_once``."""
WITHOUT_REPORT = """
import sys
from bench.__main__ import main
from bench.cli import conclusion

conclusion.write_claims = lambda *given: []
conclusion.write_report = lambda folder, *rest: folder / "report.html"
sys.exit(main())
"""
"""``python -m bench``, but for claims and report."""


def wait_for(happened: Callable[[], object], seconds: float = 180) -> None:
    """Return as soon as it has happened; fail if it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit status, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error:")]

    @property
    def one_line(self) -> str:
        """The error, if it was told in one line and nothing else was said but what always is."""
        (line,) = self.errors
        others = [o for o in self.err.splitlines() if o and o != line]
        assert all(": weights " in other or USUAL.match(other) for other in others), self.err
        assert "Traceback" not in self.out
        return line


@contextlib.contextmanager
def probed_once(folder: Path) -> Iterator[None]:
    """This machine's int8 kernels are probed once, in ``folder``, whatever cache a run has."""
    remember = probe._remember
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_remember", lambda engine, _, *rest: remember(engine, folder, *rest))
        patch.setenv(PROBES, str(folder))
        yield


@dataclass(frozen=True)
class Bench:
    """``bench(*overrides)`` runs ``python -m bench`` in this process, with short runs.

    FILES in an override stands for the folder of models and images. Claims are judged and the
    report is drawn only if asked for with ``report=True``: they cost several times a short run.
    """

    out: Path
    cache: Path
    files: Path = Path()

    def __call__(self, *overrides: str, report: bool = False) -> Ended:
        said, complained = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(complained),
            pytest.MonkeyPatch.context() as patch,
        ):
            if not report:
                patch.setattr(conclusion, "write_claims", lambda *given: [])
                patch.setattr(
                    conclusion, "write_report", lambda folder, *rest: folder / "report.html"
                )
            try:
                status: Any = main(self.arguments(*overrides))
            except SystemExit as stop:
                status = stop.code
        return Ended(status, said.getvalue(), complained.getvalue())

    def arguments(self, *overrides: str) -> list[str]:
        default = (*QUICK, f"sweep.out={self.out}", f"sweep.cache={self.cache}")
        taken = {override.partition("=")[0] for override in overrides}
        given = [o for o in default if o.partition("=")[0] not in taken]
        return [*given, *(o.replace("FILES", str(self.files)) for o in overrides)]

    def start(self, *overrides: str, report: bool = False) -> subprocess.Popen[str]:
        """The same in a process of its own, not waited for."""
        module = ["-m", "bench"] if report else ["-c", WITHOUT_REPORT]
        self.lend_probes()
        return subprocess.Popen(
            [sys.executable, *module, *self.arguments(*overrides)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def lend_probes(self) -> None:
        """For processes of their own, which look for what is known of the kernels in the cache."""
        shutil.copytree(os.environ[PROBES], self.cache, dirs_exist_ok=True)

    @property
    def rows(self) -> list[Path]:
        return sorted((self.out / "rows").glob("*.json"))

    @property
    def table(self) -> pd.DataFrame:
        """The rows, by run key."""
        rows = [json.loads(path.read_text())["row"] for path in self.rows]
        return pd.DataFrame(rows).set_index("run_key").sort_index()

    @property
    def left_nothing(self) -> bool:
        """Neither a row, nor a part of one, nor a table."""
        rows = self.out / "rows"
        whole = list(rows.iterdir()) if rows.exists() else []
        return not whole and not list(self.out.glob("table.*"))
