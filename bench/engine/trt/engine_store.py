"""Built engines on disk, with their build times, under a key of everything that made them.

An engine of another TensorRT, GPU or driver has another key, so it is never read.
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

    ``missing_scales``: tensors without a range that the builder warned of; layers beside them are
    not in INT8. None where they were not counted.
    """

    content: bytes
    missing_scales: int | None = None


@dataclass(frozen=True)
class Built:
    """A plan, and its build time in seconds; None if it was built elsewhere."""

    plan: Plan
    seconds: float | None


def build_once(path: Path, build: Callable[[], Plan]) -> Built:
    """The engine at ``path``, built first if it does not exist."""

    return cached(path, _read, lambda: sealed(path, partial(_write, built=build_now(build))))


def build_now(build: Callable[[], Plan]) -> Built:
    """The engine, not stored."""
    start = time.perf_counter()
    plan = build()
    return Built(plan, time.perf_counter() - start)


def _write(file: BinaryIO, built: Built) -> None:
    head_fields = {"seconds": built.seconds, "missing_scales": built.plan.missing_scales}
    file.write(json.dumps(head_fields).encode() + b"\n")
    file.write(built.plan.content)


def _read(path: Path) -> Built:
    head, _, content = read_sealed(path).partition(b"\n")
    head_fields = json.loads(head)
    return Built(Plan(content, head_fields["missing_scales"]), float(head_fields["seconds"]))
