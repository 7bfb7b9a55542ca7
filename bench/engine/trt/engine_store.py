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
class Built:
    """A serialized engine (TensorRT's "plan") and the seconds that its builder took."""

    plan: bytes
    seconds: float


def build_once(path: Path, build: Callable[[], bytes]) -> Built:
    """The engine at ``path``, built first if nobody has."""

    return cached(path, _read, lambda: sealed(path, partial(_write, built=build_now(build))))


def build_now(build: Callable[[], bytes]) -> Built:
    """The engine, kept nowhere."""
    start = time.perf_counter()
    plan = build()
    return Built(plan, time.perf_counter() - start)


def _write(file: BinaryIO, built: Built) -> None:
    file.write(json.dumps({"seconds": built.seconds}).encode() + b"\n")
    file.write(built.plan)


def _read(path: Path) -> Built:
    head, _, plan = read_sealed(path).partition(b"\n")
    return Built(plan, float(json.loads(head)["seconds"]))
