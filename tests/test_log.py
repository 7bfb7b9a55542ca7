"""A run's log: what it did, stage by stage, in a file and nowhere else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bench.cache import cached
from bench.log import LOG, logged_to
from bench.sealed import warn
from bench.timing import stage


def test_stages_caches_and_warnings_are_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "logs" / "run.log"
    with logged_to(path):
        with stage("build") as watch:
            logging.getLogger("bench.engine.trt.build_log").warning("TensorRT: no scale")
        for _ in range(2):
            cached(tmp_path / "a.bin", Path.read_bytes, lambda: lambda file: file.write(b"a"))
        warn("a file is damaged")
    LOG.warning("after the run")
    words = [line.split(maxsplit=2)[2] for line in path.read_text().splitlines()]
    assert [" ".join(line.split()) for line in words] == [
        "INFO build ...",
        "WARNING TensorRT: no scale",
        f"INFO build: {watch.seconds:.2f} s",
        "INFO compute a.bin",
        "INFO read a.bin",
        "WARNING a file is damaged",
    ]
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "warning: a file is damaged\n")


def test_an_error_is_logged_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(KeyError), logged_to(tmp_path / "run.log"), stage("build"):
        raise KeyError("scale")
    text = (tmp_path / "run.log").read_text()
    assert "ERROR   failed\nTraceback" in text
    assert text.endswith("KeyError: 'scale'\n")


def test_a_log_on_a_full_disk_stops_no_run(capfd: pytest.CaptureFixture[str]) -> None:
    with logged_to(Path("/dev/full")), stage("build"):
        pass
    assert capfd.readouterr().err == ""
