"""A run that has ended, in one line of a terminal or a log."""

from __future__ import annotations

from bench.errors import BenchError, shortened
from bench.results.folder import SweepFolder
from bench.results.jobs import JobRecord
from bench.results.loose import UNREADABLE, read_run
from bench.results.row import Row

_LONGEST = 160


def run_line(folder: SweepFolder, record: JobRecord) -> str:
    """What was measured, or why nothing was; the typed overrides if the row cannot be read at
    present."""
    if record.error:
        return f"failed: {_cut(record.error)}"
    row = _row(folder, record.run_key)
    if row is None:
        return f"{_cut(record.overrides)}: done"
    return row_line(row)


def row_line(row: Row) -> str:
    """What a finished run measured, for instance "minmax, 64 images, plan all: mAP50-95 0.757
    (-0.010 against FP32), 1.43x as fast, 12 s"."""
    return f"{_name(row)}: {_result(row)}, {row.run_s:.0f} s"


def _row(folder: SweepFolder, run_key: str) -> Row | None:
    """None where it is already packed, or cannot be read; later readers report that error."""
    path = folder.row(run_key)
    try:
        return read_run(path, path.read_bytes()).row
    except (OSError, BenchError, *UNREADABLE):
        return None


def _name(row: Row) -> str:
    """Calibrator, size, plan, and other settings that differ from the default."""
    params = row.calibrator_params.removeprefix("percentile=")
    known = f"{row.calibrator} {params}" if row.calibrator == "percentile" else row.calibrator
    parts = [known, f"{row.calibration_size} images"]
    parts += [f"seed {row.calibration_seed}"] if row.calibration_seed else []
    return ", ".join([*parts, f"plan {row.plan}"])


def _result(row: Row) -> str:
    if row.status == "skipped":
        return f"skipped ({_cut(row.error)})"
    if row.int8 is None or row.delta is None:
        return row.status
    if row.status == "raced":
        return f"raced: {_cut(row.error)}"
    said = f"{row.metric} {row.int8:.3f} ({row.delta:+.3f} against FP32)"
    said += f", {row.speedup:.2f}x as fast" if row.speedup is not None else ""
    return said if row.status == "ok" else f"{said}, {row.status}"


def _cut(text: str) -> str:
    text = " ".join(shortened(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
