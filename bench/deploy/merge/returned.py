"""What came back from a target: read as data that nobody vouches for, checked, and never run.

Names of files come from the record of the kit that was kept here. Texts are short and printable,
numbers finite, arrays as large as they may be; there are no pickles. What is damaged is one line.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bench.deploy.runner.ground import RESULT_VERSION
from bench.errors import DataError

AGAIN = "Copy it from the target again, or measure that job again"

MOST_JSON, MOST_PREDICTIONS, MOST_TEXT = 8 << 20, 2 << 30, 64 << 20
"""Bytes of a result, of its predictions, and of layers or a cache."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    return text


Text = Annotated[str, Field(max_length=400), AfterValidator(_printable)]
Number = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**40)]
Times = Annotated[list[Number], Field(max_length=20_000)]
Sum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Checked(BaseModel):
    """What a target does not have to say may be absent; what is not known here is left out."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class BuildOptions(_Checked):
    half: bool = False
    dla: Annotated[int, Field(ge=0, lt=100)] | None = None
    implicit: bool = False
    workspace_gb: Number = 1.0
    tactic_sources: Text = ""


class Machine(_Checked):
    """A target: what it is called, and what it is."""

    result: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
    kit: Text
    engine: Literal["tensorrt", "onnxruntime"]
    version: Text
    options: BuildOptions
    processor: Text = ""
    cores: Count = 0
    environment: Text = ""
    l4t: Text = ""
    gpu: Text = ""
    capability: Text | None = None
    driver_cuda: Count | None = None


class TimesTaken(_Checked):
    clock: Text = ""
    graph: bool = False
    graph_note: Text = ""
    device_ms: Times = []
    host_ms: Times = []
    enqueue_p50_ms: Number | None = None
    device_without_graph_p50_ms: Number | None = None


class JobResult(_Checked):
    """How one job ended."""

    result: Literal[1]
    kit: Text
    job: Text
    engine: Literal["tensorrt", "onnxruntime"]
    options: BuildOptions
    status: Literal["ok", "failed", "skipped"]
    reason: Text = ""
    version: Text = ""
    mode: Literal["fp32", "fp16", "explicit", "implicit", "exact", ""] = ""
    build_s: Number | None = None
    engine_bytes: Count | None = None
    images: Count | None = None
    batches: Count | None = None
    latency: TimesTaken = TimesTaken()
    predictions_sha256: Sum | None = None
    layers_sha256: Sum | None = None
    cache_sha256: Sum | None = None
    ended_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")] = (
        "1970-01-01T00:00:00+00:00"
    )


assert RESULT_VERSION == 1  # the literals above


@dataclass(frozen=True)
class Target:
    """The results of one target under ``folder``, for the kit of this ``record``."""

    folder: Path
    machine: Machine
    record: Mapping[str, Any]

    def result(self, job: str) -> JobResult | None:
        """How a job of the kit ended; None where it was not done. DataError if it is damaged."""
        path = self.folder / f"{job}.json"
        if not path.exists():
            return None
        found = _parse(JobResult, _read(path, MOST_JSON), path)
        if (found.kit, found.job) != (self.record["id"], job):
            raise DataError(f"{path} is of another kit or job", AGAIN)
        same = (found.engine, found.options) == (self.machine.engine, self.machine.options)
        if not same or found.version not in ("", self.machine.version):
            raise DataError(f"{path} was not measured as machine.json says", AGAIN)
        return found

    def predictions(self, result: JobResult) -> tuple[bytes, Path]:
        path = self.folder / f"{result.job}.npz"
        return _summed(path, MOST_PREDICTIONS, result.predictions_sha256), path

    def layers(self, result: JobResult) -> str:
        """What TensorRT's inspector said; empty where nothing was stored."""
        if result.layers_sha256 is None:
            return ""
        path = self.folder / f"{result.job}.layers.json"
        return _summed(path, MOST_TEXT, result.layers_sha256).decode(errors="replace")

    def cache(self, result: JobResult) -> tuple[bytes, Path]:
        path = self.folder / f"{result.job}.cache"
        return _summed(path, MOST_TEXT, result.cache_sha256), path


def find_targets(kit: Path, record: Mapping[str, Any], name: str | None) -> Iterator[Target]:
    """Every target whose results lie in the kit's folder, or the one of this name.

    Raises DataError for a machine.json that is damaged or of another kit.
    """
    root = kit / "results"
    folders = sorted(path for path in root.iterdir()) if root.is_dir() else []
    for folder in folders:
        path = folder / "machine.json"
        if folder.is_symlink() or not path.exists() or name not in (None, folder.name):
            continue
        machine = _parse(Machine, _read(path, MOST_JSON), path)
        if machine.kit != record["id"]:
            raise DataError(f"{path} is of another kit", "Put it into the folder of its own kit")
        if machine.name != folder.name:
            raise DataError(f"{path} is of {machine.name}", f"Call its folder {machine.name}")
        yield Target(folder, machine, record)


M = TypeVar("M", bound=BaseModel)


def _parse(kind: type[M], content: bytes, path: Path) -> M:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "it"
        reason = re.sub(r"\s+", " ", wrong["msg"])
        raise DataError(f"{path} is damaged ({where}: {reason})", AGAIN) from error


def _summed(path: Path, most: int, expected: str | None) -> bytes:
    content = _read(path, most)
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(f"{path} is not what its result lists: cut off, or of another run", AGAIN)
    return content


def _read(path: Path, most: int) -> bytes:
    """A regular file of at most so many bytes; no links, which could lead anywhere."""
    try:
        state = path.lstat()
    except OSError as error:
        raise DataError(f"{path} is missing", AGAIN) from error
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{path} is not a regular file", AGAIN)
    if state.st_size > most:
        raise DataError(f"{path} has {state.st_size:,} bytes, more than {most:,}", AGAIN)
    return path.read_bytes()
