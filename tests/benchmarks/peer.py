"""The same table of quantized files by ONNX Runtime's own tool and by us.

Both sides start at the FP32 file and end with quantized files on disk; every process is fresh. The
start of a process and its imports are on neither side's clock, and in both sides' memory.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from bench.model.graph import Graph
from bench.quantization.plan import PrecisionPlan, place
from tests.benchmarks.by_onnxruntime import METHODS, pre_process, quantize_one
from tests.benchmarks.isolated import Ended, isolated, succeeded
from tests.benchmarks.one_pass import quantize_all
from tests.benchmarks.scenes import FEW, Scenes, draw_scenes
from tests.benchmarks.subject import Subject


@dataclass(frozen=True)
class PeerRun:
    """One call of ``quantize_static``; ``activations`` counts the tensors with Q/DQ in its file.

    ``outcome`` is "done", or tells what happened instead: a run "killed at N MB" is a lower bound.
    """

    calibrator: str
    size: int
    chunk: int | None
    seconds: float
    peak_mb: float
    activations: int
    outcome: str


@dataclass(frozen=True)
class OurRun:
    """One pass with all that follows from it, and the seconds of its ``steps``."""

    seconds: float
    peak_mb: float
    activations: int
    steps: dict[str, float]


@dataclass(frozen=True)
class Ratio:
    """The peer's cost over ours; None where a run failed, a lower bound where one was killed."""

    value: float | None
    is_lower_bound: bool


@dataclass(frozen=True)
class Comparison:
    """Every run, the peer's all at once and in chunks, ours several times among them."""

    ours: list[OurRun]
    theirs: list[PeerRun]
    pre_process_seconds: float

    @property
    def has_chunks(self) -> bool:
        return any(run.chunk for run in self.theirs)

    def table(self, in_chunks: bool) -> list[PeerRun]:
        """A run for every calibrator and size: of those that were run in chunks, that one."""
        chosen: dict[tuple[str, int], PeerRun] = {}
        for run in self.theirs:
            if in_chunks or run.chunk is None:
                chosen[run.calibrator, run.size] = run
        return list(chosen.values())

    def time(self, in_chunks: bool = False) -> Ratio:
        """All the peer's files, over ours."""
        runs = self.table(in_chunks)
        ours = statistics.median(run.seconds for run in self.ours)
        return _ratio(runs, sum(run.seconds for run in runs), ours)

    def memory(self, in_chunks: bool = False) -> Ratio:
        """The largest of the peer's runs, over the largest of ours."""
        runs = self.table(in_chunks)
        ours = max(run.peak_mb for run in self.ours)
        return _ratio(runs, max(run.peak_mb for run in runs), ours)


def _ratio(runs: list[PeerRun], theirs: float, ours: float) -> Ratio:
    whole = all(run.outcome == "done" or run.outcome.startswith("killed") for run in runs)
    return Ratio(theirs / ours if whole else None, any(run.outcome != "done" for run in runs))


def compare(subject: Subject, sizes: tuple[int, ...], limit_mb: float) -> Comparison:
    """The peer's runs one after the other, with one of ours before each size."""
    scenes = draw_scenes(subject.size, FEW)
    graph = Graph(subject.model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    operators = sorted({graph.nodes[edge.node].op_type for edge in points.edges})
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        before = succeeded(isolated(pre_process, subject.model.path, prepared))
        with tempfile.TemporaryDirectory() as thrown_away:  # compiles the kernels for all
            quantize_all(subject.model.path, scenes, (1,), Path(thrown_away))
        for size in sizes:
            ours.append(our_run(subject, scenes, sizes))
            for method, chunk in _configurations(size, math.gcd(*sizes)):
                theirs.append(
                    peer_run(subject, prepared, scenes, size, method, operators, chunk, limit_mb)
                )
    return Comparison(ours, theirs, before.seconds)


def _configurations(size: int, chunk: int) -> Iterator[tuple[str, int | None]]:
    yield from ((method, None) for method in METHODS)
    if size > chunk:
        yield from ((method, chunk) for method in METHODS if method != "MinMax")


def our_run(subject: Subject, scenes: Scenes, sizes: tuple[int, ...]) -> OurRun:
    with tempfile.TemporaryDirectory() as folder:
        arguments = (subject.model.path, scenes, sizes, Path(folder))
        ended = succeeded(isolated(quantize_all, *arguments))
        activations = {_activations(file) for file in Path(folder).glob("*.onnx")}
    return OurRun(ended.seconds, ended.peak_mb, max(activations), ended.result or {})


def peer_run(
    subject: Subject,
    prepared: Path,
    scenes: Scenes,
    size: int,
    method: str,
    operators: list[str],
    chunk: int | None,
    limit_mb: float,
) -> PeerRun:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "quantized.onnx"
        ended: Ended[None] = isolated(
            quantize_one,
            prepared,
            subject.model.input_name,
            scenes,
            size,
            method,
            operators,
            output,
            chunk,
            limit_mb=limit_mb,
        )
        activations = 0 if ended.trouble else _activations(output)
    return PeerRun(
        method, size, chunk, ended.seconds, ended.peak_mb, activations, ended.trouble or "done"
    )


def _activations(file: Path) -> int:
    return sum(node.op_type == "QuantizeLinear" for node in onnx.load(file).graph.node)
