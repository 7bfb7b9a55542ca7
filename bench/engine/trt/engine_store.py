"""Built engines on disk: under a key of everything that made them, and how long that took.

An engine of another TensorRT, GPU or driver has another key, so it is never even looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from bench.cache import cached
from bench.sealed import read_sealed, sealed


@dataclass(frozen=True)
class Plan:
    """A serialized engine, as TensorRT calls it.

    ``missing_scales``: tensors without a range that the builder warned of, beside which it leaves
    layers out of INT8; None where nobody counted.
    """

    content: bytes
    missing_scales: int | None = None


@dataclass(frozen=True)
class Built:
    """A plan, and the seconds that its builder took."""

    plan: Plan
    seconds: float


def build_once(path: Path, build: Callable[[], Plan]) -> Built:
    """The engine at ``path``, built first if nobody has."""

    return cached(path, _read, lambda: sealed(path, partial(_write, built=build_now(build))))


def build_now(build: Callable[[], Plan]) -> Built:
    """The engine, kept nowhere."""
    start = time.perf_counter()
    plan = build()
    return Built(plan, time.perf_counter() - start)


def _write(file: BinaryIO, built: Built) -> None:
    told = {"seconds": built.seconds, "missing_scales": built.plan.missing_scales}
    file.write(json.dumps(told).encode() + b"\n")
    file.write(built.plan.content)


def _read(path: Path) -> Built:
    head, _, content = read_sealed(path).partition(b"\n")
    told = json.loads(head)
    return Built(Plan(content, told["missing_scales"]), float(told["seconds"]))
