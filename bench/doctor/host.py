"""The machine without its GPU: Python, packages, processor, memory."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

import psutil

from bench import environment
from bench.doctor.check import Check, Finding

DISTRIBUTION = "int8-calibration-bench"
PYTHONS = ((3, 10), (3, 13))
LEAST_MEMORY_GIB = 2.0
"""Free memory for collecting statistics: YOLOX-nano at 640 peaks at 0.8 GB, see make benchmark."""


def look_at_python() -> Finding:
    lowest, highest = (".".join(map(str, ends)) for ends in PYTHONS)
    version_text = f"{platform.python_implementation()} {platform.python_version()}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("pass", version_text)
    fix = f"Use Python {lowest} to {highest}: make PYTHON=python{highest} sweep"
    return Finding("fail", version_text, fix)


def look_at_packages() -> Finding:
    """The package's requirements, without its extras."""
    try:
        required = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return Finding("fail", f"{DISTRIBUTION} is not installed", "pip install -e .")
    missing = []
    for requirement in required:
        if "extra ==" not in requirement:
            name = re.split(r"[^\w.-]", requirement)[0]
            try:
                version(name)
            except PackageNotFoundError:
                missing.append(name)
    if missing:
        return Finding("fail", f"missing: {', '.join(missing)}", "pip install -e .")
    return Finding("pass", environment.software())


def look_at_processor() -> Finding:
    if environment.int8_instructions():
        return Finding("pass", environment.hardware())
    fix = "See INT8 kernels below; INT8 latencies of this processor do not apply to others"
    return Finding("absent", f"{environment.hardware()}: neither VNNI nor AMX", fix)


def look_at_memory() -> Finding:
    memory = psutil.virtual_memory()
    memory_text = f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}"
    if memory.available >= LEAST_MEMORY_GIB * 2**30:
        return Finding("pass", memory_text)
    return Finding("fail", memory_text, f"Free {LEAST_MEMORY_GIB:.0f} GiB; large models need more")


CHECKS = (
    Check("Python", look_at_python),
    Check("packages", look_at_packages),
    Check("processor", look_at_processor),
    Check("memory", look_at_memory),
)
