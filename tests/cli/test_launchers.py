"""What launchers have to know: the order of runs, GPUs, and the cores of a job."""

from __future__ import annotations

import joblib  # type: ignore[import-untyped]
import psutil
import pytest
from omegaconf import OmegaConf

from bench.cli.launchers import (
    cores_of_job,
    in_sharing_order,
    is_of_launcher,
    launcher_settings,
)

CORES = psutil.cpu_count() or 1


def test_runs_that_share_work_follow_each_other() -> None:
    typed = [
        "plan=all,float_head", "calibrator=minmax,mse", "timing.rounds=3", "engine=openvino",
        "calibration.size=8,64", "calibration.seed=0,1", "dataset.name=x", "model=a,b",
    ]  # fmt: skip
    assert in_sharing_order(typed) == [
        "timing.rounds=3", "model=a,b", "dataset.name=x", "calibration.seed=0,1",
        "calibration.size=8,64", "calibrator=minmax,mse", "plan=all,float_head", "engine=openvino",
    ]  # fmt: skip


def test_of_one_key_given_twice_the_later_still_wins() -> None:
    assert in_sharing_order(["plan=all", "model=a", "plan=x"]) == ["model=a", "plan=all", "plan=x"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["engine=tensorrt", "hydra/launcher=ray"], ["++hydra.launcher.ray.remote.num_gpus=1"]),
        (
            ["engine=tensorrt", "hydra/launcher=submitit_slurm"],
            ["++hydra.launcher.gpus_per_node=1"],
        ),
        (
            ["baseline.provider=cuda", "hydra/launcher=ray"],
            ["++hydra.launcher.ray.remote.num_gpus=1"],
        ),
        (["engine=tensorrt", "hydra/launcher=ray", "+hydra.launcher.ray.remote.num_gpus=2"], []),
        (
            ["engine=openvino,tensorrt", "hydra/launcher=ray"],
            ["++hydra.launcher.ray.remote.num_gpus=1"],
        ),
        (["engine=tensorrt_rtx", "hydra/launcher=ray"], []),
        (["engine=openvino", "hydra/launcher=ray"], []),
        (["engine=tensorrt"], []),
        (
            ["hydra/launcher=ray", "hydra.launcher.ray.init.address=auto"],
            ["++hydra.launcher.ray.init.object_store_memory=null"],
        ),
    ],
)
def test_jobs_ask_for_a_gpu_where_their_engine_needs_one_and_ray_for_no_memory(
    words: list[str], asked: list[str]
) -> None:
    assert launcher_settings(words) == asked


@pytest.mark.parametrize(
    ("launcher", "count"),
    [
        ({"_target_": "a.BasicLauncher"}, None),
        ({"_target_": "a.JoblibLauncher", "n_jobs": 1}, None),
        ({"_target_": "a.JoblibLauncher", "n_jobs": CORES}, 1 if CORES > 1 else None),
        ({"_target_": "a.JoblibLauncher", "n_jobs": -1}, 1 if CORES > 1 else None),
        ({"_target_": "a.JoblibLauncher", "n_jobs": 1000}, 1),
        ({"_target_": "a.RayLauncher", "ray": {"remote": {}}}, 1),
        ({"_target_": "a.RayLauncher", "ray": {"remote": {"num_cpus": 4}}}, 4),
        ({"_target_": "a.LocalLauncher", "cpus_per_task": None}, 1),
        ({"_target_": "a.SlurmLauncher", "cpus_per_task": 8}, None),
    ],
)
def test_the_cores_of_a_job(launcher: dict[str, object], count: int | None) -> None:
    cores = cores_of_job(OmegaConf.create(launcher))
    assert (cores and cores.count) == count


def test_an_error_of_a_launchers_library_is_known_by_where_it_was_raised() -> None:
    with pytest.raises(ValueError, match="none of them") as theirs:
        joblib.Parallel(backend="none of them")([])
    assert is_of_launcher(theirs.value)
    with pytest.raises(ValueError, match="none of them") as ours:
        int("none of them")
    assert not is_of_launcher(ours.value)
    assert not is_of_launcher(ValueError())
