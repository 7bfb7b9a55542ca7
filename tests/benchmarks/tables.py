"""What was found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table

from tests.benchmarks.collection import BARE, paired_ratios, spread
from tests.benchmarks.diagnosis import Diagnoses
from tests.benchmarks.evaluation import Evaluation
from tests.benchmarks.memory import Memory
from tests.benchmarks.parts import Found
from tests.benchmarks.peer import Comparison, PeerRun, Ratio
from tests.benchmarks.scale import Scale
from tests.benchmarks.subject import PLACEMENTS


def tables(found: Found) -> Iterator[Group]:
    """One table under its heading for every part that was measured."""
    for heading, table in _parts(found):
        yield Group(f"\n[bold]{found.subject.name}[/]: {heading}", table)


def _parts(found: Found) -> Iterator[tuple[str, Table]]:
    if found.collection:
        rounds = f"medians of {found.options.rounds} rounds"
        yield f"{found.options.images} images, {rounds}", _collection(found, found.collection)
    if found.memory:
        yield "resident memory of collection", _memory(found.memory)
    if found.thresholds:
        yield "threshold search, milliseconds a tensor", _thresholds(found.thresholds)
    if found.peer:
        yield (
            "the same quantized files by onnxruntime's quantize_static and by one pass of ours",
            _peer(found.peer),
        )
    if found.scale:
        yield "how collection grows", _scale(found.scale)
    if found.evaluation:
        yield "an evaluation over its bare inference", _evaluation(found.evaluation)
    if found.diagnosis:
        images = found.diagnosis.images
        yield f"which layers lose most, from {images} images", _diagnosis(found.diagnosis)


def _table(*heads: str) -> Table:
    table = Table()
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left")
    return table


def _collection(found: Found, seconds: dict[str, list[float]]) -> Table:
    table = _table("pass", "tensors", "seconds", "over the bare pass", "min-max")
    table.add_row("bare FP32", "", f"{spread(seconds[BARE]).median:.2f}", "1.00", "")
    for name, ratio in paired_ratios(seconds).items():
        table.add_row(
            f"statistics, {name}",
            str(len(found.subject.tensors[name])),
            f"{spread(seconds[name]).median:.2f}",
            f"{ratio.median:.2f}",
            f"{ratio.least:.2f}-{ratio.largest:.2f}",
        )
    return table


def _memory(memory: list[Memory]) -> Table:
    table = _table("placement", "images", "MB at start", "MB at most", "over the fewest")
    fewest = {one.placement: one.peak_mb for one in reversed(memory)}
    for one in memory:
        ratio = one.peak_mb / fewest[one.placement]
        megabytes = (f"{one.start_mb:.0f}", f"{one.peak_mb:.0f}")
        table.add_row(one.placement, str(one.size), *megabytes, f"{ratio:.3f}")
    return table


def _thresholds(times: dict[str, dict[str, float]]) -> Table:
    table = _table("calibrator", *PLACEMENTS)
    for name in times["explicit"]:
        table.add_row(name, *(f"{times[placement][name]:.3f}" for placement in PLACEMENTS))
    return table


def _peer(comparison: Comparison) -> Table:
    heads = ("images", "chunk", "seconds", "MB at most", "Q/DQ", "outcome")
    table = _table("calibrator", *heads)
    for run in comparison.theirs:
        table.add_row(*_cells(run))
    table.add_section()
    for ours in comparison.ours:
        cells = (f"{ours.seconds:.2f}", f"{ours.peak_mb:.0f}", str(ours.activations))
        table.add_row("ours, all", "", "", *cells, "done")
    table.add_section()
    for label, in_chunks in (("theirs / ours", False), ("  in chunks", True)):
        if in_chunks and not comparison.has_chunks:
            continue
        time, memory = comparison.time(in_chunks), comparison.memory(in_chunks)
        table.add_row(label, "", "", _times(time), _times(memory), "", "")
    return table


def _cells(run: PeerRun) -> tuple[str, ...]:
    return (
        run.calibrator,
        str(run.size),
        str(run.chunk or ""),
        f"{run.seconds:.2f}",
        f"{run.peak_mb:.0f}",
        str(run.activations),
        run.outcome.strip().splitlines()[-1],
    )


def _times(ratio: Ratio) -> str:
    if ratio.value is None:
        return "failed"
    return f"{'>= ' if ratio.is_lower_bound else ''}{ratio.value:.1f} x"


def _evaluation(evaluations: dict[str, Evaluation]) -> Table:
    heads = ("images", "bare ms", "over bare", "min-max", "scoring s", "bootstrap s")
    table = _table("engine", *heads)
    for name, one in evaluations.items():
        ratio = one.ratio
        table.add_row(
            f"{name}, {one.engine}",
            str(one.images),
            f"{spread(one.bare).median / one.images * 1e3:.1f}",
            f"{ratio.median:.3f}",
            f"{ratio.least:.3f}-{ratio.largest:.3f}",
            f"{one.scoring:.2f}",
            f"{one.bootstrap:.2f}",
        )
    return table


def _diagnosis(found: Diagnoses) -> Table:
    table = _table("", "seconds", "peak MB", "judged", "the worst")
    for name, side in (("ours", found.ours), ("onnxruntime", found.theirs)):
        outcome = ", ".join(side.worst) if side.outcome == "done" else side.outcome.splitlines()[0]
        table.add_row(name, f"{side.seconds:.1f}", f"{side.peak_mb:.0f}", str(side.judged), outcome)
    return table


def _scale(scale: Scale) -> Table:
    table = _table("over", "ms each", "seconds at 0", "R²")
    lines = {f"images, {name}": line for name, line in scale.by_images.items()}
    lines[f"tensors, {scale.images_of_tensors} images"] = scale.by_tensors
    for name, line in lines.items():
        slope = f"{line.slope * 1e3:.2f}"
        table.add_row(name, slope, f"{line.intercept:.2f}", f"{line.r2:.4f}")
    return table
