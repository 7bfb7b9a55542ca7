"""What every part of the runner stands on: its errors, whole files or none, and its words."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Sequence

import numpy as np

RESULT_VERSION = 1


class KitError(Exception):
    """What is wrong, and the fix, in one line."""


class NotHereError(KitError):
    """This machine, or its version of an engine, does not have what a job needs: it is skipped."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under another name, flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except BaseException:
        if temporary.exists():
            temporary.unlink()
        raise


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON that has no NaN and no infinity."""
    write_whole(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; KitError for anything else."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise KitError(f"{path} cannot be read ({error}). Copy the kit again") from error
    if not isinstance(values, dict):
        raise KitError(f"{path} is not an object of JSON. Copy the kit again")
    return values


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def one_line(error: BaseException, longest: int = 300) -> str:
    """An exception as one line of text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else text[: longest - 4] + " ..."


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """Of the measured values, in their unit."""
    return float(np.percentile(np.asarray(values, np.float64), percent))


def rounded(values: Sequence[float], digits: int = 6) -> list[float]:
    return [round(float(value), digits) for value in values]
