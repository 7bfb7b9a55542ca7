"""Provenance: the hardware and software of a result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGE = Path(__file__).parent

CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""The YAML files: inside an installed package, beside ``bench/`` in a checkout."""

ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that stop OpenVINO's kernels from using some instructions."""

_SIMD = (
    "avx", "fma", "avx2", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "asimd", "asimddp", "asimdhp",
    "sve", "sve2", "bf16", "i8mm",
)  # fmt: skip
"""Instruction sets by which libraries choose their kernels, as in /proc/cpuinfo."""

_PACKAGES = ("numpy", "onnx", "onnxruntime", "openvino", "opencv-python-headless", "hotcoco")


def hardware() -> str:
    """Processor, the cores of it that this process has, and memory, on one line."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {_cores()} cores, {memory:.0f} GiB"


def software() -> str:
    """System, Python and the packages that results depend on, with versions, on one line."""
    parts = [f"{platform.system()} {platform.machine()}", f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def harness_version() -> str:
    """The version of the installed package; '' in a checkout that is not installed."""
    try:
        return version("int8-calibration-bench")
    except PackageNotFoundError:
        return ""


def git_commit() -> str:
    """The commit of this harness, with '+' where the tree was changed; '' outside a checkout."""
    root = PACKAGE.parent
    if not (root / ".git").exists():  # otherwise it would be the commit of a surrounding repository
        return ""
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def of_child(package_folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process that imports from ``package_folder`` first, and ``more``."""
    path = os.pathsep.join([str(package_folder), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), **more}


def of_twin() -> dict[str, str]:
    """The environment of a process that imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def versions(*modules: str) -> str:
    """Versions of imported libraries, by the names they are imported by: "numpy 2.2.6, cv2 5.0"."""
    return ", ".join(f"{name} {import_module(name).__version__}" for name in modules)


def arithmetic() -> str:
    """The instruction sets that decide how this processor adds floats: "x86_64 avx fma avx2".

    Kernels for other instructions add in another order, and round differently. So the keys of
    stored results of float kernels contain it.
    """
    limits = sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith(("ONEDNN_", "DNNL_"))
        and name.endswith(("MAX_CPU_ISA", "FPMATH_MODE", "CPU_ISA_HINTS"))
        and value
    )
    flags = _cpu_flags()
    return " ".join([platform.machine(), *(flag for flag in _SIMD if flag in flags), *limits])


def int8_instructions() -> tuple[str, ...]:
    """The processor's instructions that add int8 products exactly; none if it reports none."""
    flags = _cpu_flags()
    return tuple(flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni") if flag in flags)


def _cpu_flags() -> frozenset[str]:
    """The processor's extensions, as Linux reports them (x86: flags, ARM: Features)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def own_cores() -> int | None:
    """How many of the machine's cores this process may use; None: all of them."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    available = len(os.sched_getaffinity(0))
    return None if available == psutil.cpu_count() else available


def _cores() -> str:
    """ "8", or "2 of 8"."""
    total, available = psutil.cpu_count(), own_cores()
    return f"{available} of {total}" if available else str(total)


def _processor() -> str:
    """The model name, the instructions for INT8, and variables that stop oneDNN from using them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [
        line.split(":", 1)[1].strip()
        for line in text.splitlines()
        if line.startswith(("model name", "CPU part"))  # ARM has no names
    ]
    int8 = ", ".join(int8_instructions()) or "no VNNI"
    limits = (f", {name}={os.environ[name]}" for name in ONEDNN_LIMITS if os.environ.get(name))
    limited = "".join(limits)
    return f"{names[0] if names else platform.machine()} ({int8}{limited})"
