"""What Hydra's launchers need to know about a sweep: the order of its runs, GPUs, and cores.

- ``basic`` makes one run after the other, ``joblib`` several on this machine;
- ``ray`` on a Ray cluster, ``submitit_slurm`` on SLURM and ``submitit_local`` on this machine.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from omegaconf import DictConfig, OmegaConf

SHARING_ORDER = (
    "model", "dataset", "evaluation", "baseline", "calibration.list", "calibration.strategy",
    "calibration.preprocess", "calibration.pad", "placement", "calibration.seed",
    "calibration.size", "calibrator", "input_range", "scheme", "weights", "plan", "engine",
)  # fmt: skip
"""The keys that change least often come first: runs that share a network, images, statistics or
layers then follow each other, and compute these once."""

_WITH_GPU = (("engine", "tensorrt"), ("baseline.provider", "cuda"))
_GPUS = {
    "ray": "hydra.launcher.ray.remote.num_gpus",
    "submitit_slurm": "hydra.launcher.gpus_per_node",
}
_LIBRARIES = ("submitit", "ray", "joblib")
_RAY_ADDRESS = "hydra.launcher.ray.init.address"
_RAY_MEMORY = "hydra.launcher.ray.init.object_store_memory"


def in_sharing_order(words: Sequence[str]) -> list[str]:
    """The swept overrides in an order in which runs share work; the others unchanged."""
    return sorted(words, key=_rank)


def _rank(word: str) -> int:
    key = word.lstrip("+~").partition("=")[0]
    parts = [n for n, part in enumerate(SHARING_ORDER) if f"{key}.".startswith(f"{part}.")]
    # A part may occur twice, as calibration.size before calibration.seed.
    return max(parts, default=-1)


def launcher_settings(words: Sequence[str]) -> list[str]:
    """Overrides that the launcher needs besides the typed ones: a GPU for every job whose engine
    needs one, and no memory request for a Ray cluster that already runs."""
    given = {word.lstrip("+").partition("=")[0]: word.partition("=")[2] for word in words}
    wanted = {}
    if any(value in given.get(key, "").split(",") for key, value in _WITH_GPU):
        wanted[_GPUS.get(given.get("hydra/launcher", ""), "")] = "1"
    if _RAY_ADDRESS in given:
        wanted[_RAY_MEMORY] = "null"
    return [f"++{key}={value}" for key, value in wanted.items() if key and key not in given]


@dataclass(frozen=True)
class Cores:
    """How many cores a job gets, and how long it waits until they are free."""

    count: int
    patience_s: float = 0.0


def cores_of_job(launcher: Any) -> Cores | None:
    """The cores of a job of this launcher; None: all cores, or what its scheduler assigns.

    ``launcher`` is ``hydra.launcher`` as composed. joblib divides the cores evenly. Ray counts
    cores but does not pin processes. submitit's local executor starts all jobs at once, each as a
    separate process: they wait for each other.
    """
    target = _name(launcher)
    if is_joblib(launcher):
        from joblib import effective_n_jobs  # type: ignore[import-untyped]

        processes = effective_n_jobs(launcher.get("n_jobs", -1))
        return None if processes == 1 else Cores(max(1, (psutil.cpu_count() or 1) // processes))
    if target == "RayLauncher":
        return Cores(max(1, int(launcher.ray.remote.get("num_cpus") or 1)))
    if target == "LocalLauncher":
        return Cores(max(1, int(launcher.get("cpus_per_task") or 1)), math.inf)
    return None


def is_of_launcher(error: BaseException) -> bool:
    """Whether a launcher's library raised it, as where a cluster refuses or loses a job."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    where = frames[-1].f_globals.get("__name__", "") if frames else ""
    return where.partition(".")[0] in _LIBRARIES


def is_joblib(launcher: Any) -> bool:
    return _name(launcher) == "JoblibLauncher"


def prepare_workers(config: DictConfig) -> None:
    """Of a composed configuration: joblib's workers end with their parent from their start, also
    those without a job."""
    if is_joblib(config.hydra.launcher):
        first = {
            "_target_": "hydra.utils.get_method",
            "path": "bench.cli.recovery.end_with_parent",
        }
        OmegaConf.update(config, "hydra.launcher.initializer", first, force_add=True)


def end_workers(launcher: Any) -> None:
    """End the idle processes that joblib keeps, which frees their cores."""
    if is_joblib(launcher):
        from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

        get_reusable_executor().shutdown(wait=True)


def _name(launcher: Any) -> str:
    return str(launcher["_target_"]).rpartition(".")[2]
