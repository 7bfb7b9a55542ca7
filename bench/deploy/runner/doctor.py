"""What this machine has, before minutes are spent: each check one line, with the fix."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np

from bench.deploy.runner.cuda import Cuda, board_name, load_cuda
from bench.deploy.runner.files import Kit
from bench.deploy.runner.ground import KitError, NotHereError, one_line, say
from bench.deploy.runner.ort import load_onnxruntime
from bench.deploy.runner.trt_build import CALIBRATORS, load_tensorrt, make_log

ROOM = 1 << 30


def examine(kit: Kit, engine: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Facts of the machine, and what is wrong, each as one line. Everything is printed."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": board_name() or _processor(),
        "cores": os.cpu_count() or 1,
        "l4t": _first_line("/etc/nv_tegra_release"),
        "environment": "",
    }
    checks: list[tuple[str, Callable[[], Any]]] = [
        ("files", lambda: _files(kit)),
        ("room", lambda: _room(folder)),
    ]
    if engine == "tensorrt":
        checks += [("tensorrt", _tensorrt), ("gpu", _gpu)]
    else:
        checks += [("onnxruntime", lambda: {"version": str(load_onnxruntime().__version__)})]
    wrong: list[str] = []
    for name, check in checks:
        try:
            found = check()
            facts.update(found if isinstance(found, dict) else {})
            say(f"ok      {name}: {found if isinstance(found, str) else _told(found)}")
        except (KitError, RuntimeError, OSError, TypeError, AttributeError) as error:
            wrong.append(f"{name}: {one_line(error)}")
            say(f"FAILED  {wrong[-1]}")
    facts["environment"] = "{}, Python {}, numpy {}".format(
        facts["system"], facts["python"], facts["numpy"]
    )
    if facts["l4t"]:
        say(
            "note    Jetson: latency depends on the power mode. Run sudo nvpmodel -m 0 and "
            "sudo jetson_clocks first"
        )
    return facts, wrong


def _told(found: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in found.items())


def _files(kit: Kit) -> str:
    missing = 0
    for name in kit.facts["files"]:
        kit.read(name)
        missing += 1
    for which, own in kit.facts["images"].items():
        images = kit.images(which)
        if len(images) != own["count"]:
            raise KitError(f"kit.json lists other {which} images than it counts")
        for listed in own["pixels"]:
            path = kit.folder / listed["file"]
            if not path.is_file() or path.stat().st_size < listed["offset"] + listed["bytes"]:
                raise KitError("{} is missing or cut off. Copy it again".format(listed["file"]))
    return f"{missing} files have their checksums, all images are there"


def _room(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(str(folder)).free
    if free < ROOM:
        raise KitError(f"{free / 1e9:.1f} GB are free. Results and timings want 1 GB")
    return f"{free / 1e9:.1f} GB free"


def _tensorrt() -> dict[str, Any]:
    trt = load_tensorrt()
    log = make_log(trt)
    try:
        trt.Builder(log)
    except TypeError:
        raise NotHereError(
            f"TensorRT {trt.__version__} cannot start a builder ({log.reason}). It needs an "
            "NVIDIA GPU, and a driver for its CUDA version"
        ) from None
    native = [name for name, (kind, _) in CALIBRATORS.items() if hasattr(trt, kind)]
    return {"version": str(trt.__version__), "calibrators": "/".join(native) or "none"}


def _gpu() -> dict[str, Any]:
    return Cuda(load_cuda()).describe()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return ""


def python_fits() -> bool:
    return sys.version_info >= (3, 8)
