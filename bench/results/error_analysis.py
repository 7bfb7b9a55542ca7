"""Where a run loses, stored beside its row: by class, by object size, and on which pictures.

One small JSON file per run. Its pictures are separate small files, shared by the runs that show
the same ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bench.cache import write_atomically
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.store import RowStore
from bench.sealed import DamagedError, seal, unseal, warn

Kind = Literal["right", "wrong", "missed"]
"""A right or wrong detection, or an object that was missed."""

_UNFIT = (DamagedError, ValueError, TypeError, KeyError, AttributeError, RecursionError)

LONGER_SIDE = 320
"""Most pixels of a stored picture's longer side; also the units of a picture on the page."""


@dataclass(frozen=True)
class Part:
    """One class or size: the headline metric of its ``count`` objects (or images) alone.

    ``low`` to ``high`` is the 95 % interval of INT8 minus FP32 over the images, where one is known.
    ``images`` are those that show it; None where only objects were counted.
    """

    name: str
    count: int
    fp32: float
    int8: float
    low: float | None = None
    high: float | None = None
    images: int | None = None

    @property
    def delta(self) -> float:
        return self.int8 - self.fp32


@dataclass(frozen=True)
class Box:
    """Left, top, width and height as shares of the picture, and what the box is."""

    place: tuple[float, float, float, float]
    label: str
    kind: Kind
    score: float | None = None


@dataclass(frozen=True)
class View:
    """One system's result on a picture: in words, and for a detector also in boxes."""

    says: str
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Example:
    """A picture that FP32 and INT8 see differently; ``picture`` names its file."""

    name: str
    picture: str
    width: int
    height: int
    truth: str
    fp32: View
    int8: View


@dataclass(frozen=True)
class Losses:
    """``worse`` images have more mistakes in INT8 than in FP32, ``better`` ones fewer.

    A detector's mistakes are counted at ``threshold``, FP32's best. ``unit`` says what the parts
    count.
    """

    unit: Literal["object", "image"]
    worse: int
    better: int
    threshold: float | None = None
    classes: tuple[Part, ...] = ()
    sizes: tuple[Part, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class LossStore:
    """The files under a sweep's ``folder``; each is complete or missing."""

    folder: Path

    @cached_property
    def _runs(self) -> RowStore:
        return RowStore(self.folder)

    def path(self, run_key: str) -> Path:
        return SweepFolder(self.folder).losses(run_key)

    def picture_path(self, name: str) -> Path:
        return SweepFolder(self.folder).picture(name)

    def has(self, run_key: str) -> bool:
        """Whether a run stored them; older runs did not."""
        return self._runs.has_file("losses", run_key)

    def add(self, run_key: str, losses: Losses) -> None:
        text = json.dumps(_rounded(asdict(losses)), allow_nan=False)
        write_atomically(self.path(run_key), text.encode())

    def add_picture(self, name: str, make: Callable[[], bytes]) -> None:
        """Store a picture as JPEG, unless an earlier run has done so."""
        path = self.picture_path(name)
        if not path.is_file():
            write_atomically(path, seal(make(), path))

    def picture(self, name: str) -> bytes | None:
        """A picture's JPEG; None where its file is missing or (with a warning) damaged. The words
        remain."""
        path = self.picture_path(name)
        if not path.is_file():
            return None
        content = path.read_bytes()
        if content.endswith(
            b"\xff\xd9"
        ):  # JPEG's end marker: written by a version without checksums
            return content
        try:
            return unseal(content, path)
        except DamagedError as error:
            warn(f"{error}, and is not shown")
            return None

    def load(self, run_key: str) -> Losses:
        """What ``add`` stored; raises DataError for another kind of file."""
        path = self.path(run_key)
        try:
            return _losses(json.loads(self._runs.read_file("losses", run_key) or b""))
        except _UNFIT as error:
            raise DataError(
                f"{path} does not say where a run loses ({error})",
                "The report leaves it out",
            ) from error


def _losses(values: Mapping[str, Any]) -> Losses:
    parts = {kind: tuple(_part(part) for part in values[kind]) for kind in ("classes", "sizes")}
    examples = tuple(
        Example(**{**example, **{name: _view(example[name]) for name in ("fp32", "int8")}})
        for example in values["examples"]
    )
    return Losses(**{**values, **parts, "examples": examples})


def _part(values: Mapping[str, Any]) -> Part:
    known = {name: math.nan if values[name] is None else values[name] for name in ("fp32", "int8")}
    return Part(**{**values, **known})


def _view(values: Mapping[str, Any]) -> View:
    boxes = (Box(**{**box, "place": tuple(box["place"])}) for box in values["boxes"])
    return View(values["says"], tuple(boxes))


def _rounded(value: Any) -> Any:
    """Numbers rounded to a millionth; None for nan, which JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
