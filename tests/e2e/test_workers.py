"""A sweep on several workers gives the table of one process, whatever launches them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e import slurm
from tests.e2e.command import CUSTOM, Bench

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SWEEP = [
    *CUSTOM, "dataset.calibration_images=8", "calibrator=minmax,mse", "confirm.seeds=1",
    "confirm.roundings=1",
]  # fmt: skip
"""Both runs are leaders, so both are repeated, whichever is faster."""
MEASURED = [
    "collect_s", "threshold_s", "build_s", "run_s", "peak_memory_mb", "started_at", "overrides",
    "hardware", "git_commit", "timing", "latency_rounds", "throughput",
]  # fmt: skip
"""What depends on the process, the clock or the load."""


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Bench:
    folder = tmp_path_factory.mktemp("serial")
    bench = Bench(folder / "out", folder / "cache", files)
    assert bench("--multirun", *SWEEP).status == 0
    return bench


@pytest.fixture
def bench(tmp_path: Path, files: Path) -> Bench:
    return Bench(tmp_path / "out", tmp_path / "cache", files)


def found(bench: Bench) -> pd.DataFrame:
    """The table but for what is measured by the clock, bit for bit."""
    table = bench.table
    clocked = [name for name in table if "latency" in name or "speedup" in name]
    return table.drop(columns=[*MEASURED, *clocked], errors="ignore")


def run(bench: Bench, *words: str) -> pd.DataFrame:
    before = os.sched_getaffinity(0)
    bench.lend_probes()
    ended = bench("--multirun", *SWEEP, *words)
    assert ended.status == 0, ended.err
    assert os.sched_getaffinity(0) == before
    assert (bench.out / "table.csv").is_file()
    return found(bench)


def test_joblib(serial: Bench, bench: Bench) -> None:
    table = run(bench, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    pd.testing.assert_frame_equal(table, found(serial), check_exact=True)
    assert set(bench.table["timing"]) == {"alone"}


def test_submitit(serial: Bench, bench: Bench) -> None:
    pytest.importorskip("submitit")
    table = run(bench, "hydra/launcher=submitit_local")
    pd.testing.assert_frame_equal(table, found(serial), check_exact=True)
    assert set(bench.table["timing"]) == {"alone"}


@pytest.fixture
def on_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of two nodes."""
    pytest.importorskip("submitit")
    if missing := slurm.missing():
        pytest.skip(f"SLURM is not here: {', '.join(missing)}")
    (tmp_path / "slurm").mkdir(mode=0o755)
    with slurm.cluster(tmp_path / "slurm") as environment:
        for name in ("SLURM_CONF", "PATH"):
            monkeypatch.setenv(name, environment[name])
        yield


def test_slurm(serial: Bench, bench: Bench, on_slurm: None) -> None:
    table = run(bench, "hydra/launcher=submitit_slurm")
    pd.testing.assert_frame_equal(table, found(serial), check_exact=True)
    assert set(bench.table["timing"]) == {"alone"}


def test_what_slurm_refuses_is_one_line(bench: Bench, on_slurm: None) -> None:
    words = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=other"]
    ended = bench("--multirun", *CUSTOM, *words)
    assert ended.status == 2
    (line,) = ended.errors
    assert line.startswith("error: the launcher failed. Finished runs are kept;")
    assert "invalid partition specified: other" in line


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
for _ in range(2):
    cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
"""A head without cores, and two worker nodes of one core each."""


def test_ray(serial: Bench, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    if not find_spec("ray"):
        pytest.skip("needs the extra 'ray'")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as cluster:
        assert cluster.stdout
        assert cluster.stdin
        address = cluster.stdout.readline().strip()
        process = bench.start(
            "--multirun", *SWEEP, "hydra/launcher=ray",
            f"hydra.launcher.ray.init.address={address}",
        )  # fmt: skip
        _, err = process.communicate(timeout=300)
        cluster.stdin.close()
        assert process.returncode == 0, err
    pd.testing.assert_frame_equal(found(bench), found(serial), check_exact=True)
    assert set(bench.table["timing"]) == {"alone"}


def test_a_run_that_fails_on_a_worker_costs_itself_alone(bench: Bench) -> None:
    pytest.importorskip("submitit")
    bench.lend_probes()
    ended = bench("--multirun", *CUSTOM, "calibration.size=4,7", "hydra/launcher=submitit_local")
    assert ended.status == 2
    assert "calibration.size=7 is more than the 6 calibration images" in ended.errors[0]
    assert len(bench.rows) == 1


def test_optuna_searches_by_what_a_run_returns(bench: Bench) -> None:
    pytest.importorskip("optuna")
    ended = bench(
        "--multirun", *CUSTOM, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3",
        "hydra.sweeper.direction=maximize", "calibrator=choice(minmax,mse,entropy2)",
        "sweep.objective=[sqnr_db]",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert 1 <= len(bench.rows) <= 3
    best = (bench.out / "jobs" / "optimization_results.yaml").read_text()
    assert f"best_value: {bench.table['sqnr_db'].max():.6f}"[:18] in best
