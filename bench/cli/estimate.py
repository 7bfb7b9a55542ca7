"""How long a sweep will take, from one inference of its FP32 model."""

from __future__ import annotations

import numpy as np

from bench.run.measure import float_sessions
from bench.run.spec import Run
from bench.timing import measure_in_turn

_FIXED_S = 1.5
"""Q/DQ, build and score of a small model (YOLOv8n at 128 pixels, two cores)."""

_PER_IMAGE = 1.3
"""INT8 evaluation and check of an image, relative to its FP32 inference."""

_TIMED = 0.5
"""Share of ``timing.seconds``: later runs of a plan are timed for a third of the rounds."""

_MINUTE = 60.0


def image_seconds(run: Run) -> float:
    """Median time of one FP32 inference, in seconds per image, at the machine's present load."""
    size, network = run.measurement.batch_size, run.model.network
    session = float_sessions(run, run.baseline_engine)["fp32"]
    batch = np.zeros((size, 3, network.height, network.width), np.float32)
    times = measure_in_turn({"fp32": lambda: session.run(batch)}, rounds=3, seconds=0.0, warmup=1)
    return times["fp32"].percentile_ms(50) / 1000 / size


def estimate_seconds(run: Run, per_image: float, runs: int) -> float:
    """Seconds of ``runs`` runs like this one, with one pass over the calibration images."""
    how = run.measurement
    timed = how.seconds * _TIMED if how.rounds else 0.0
    once = (run.n_images + 2 * run.calibration.size) * per_image
    return once + runs * (_FIXED_S + run.n_images * per_image * _PER_IMAGE + timed)


def estimate_line(run: Run, runs: int, confirmations: int) -> str:
    """The sentence printed before the first run."""
    per_image = image_seconds(run)
    seconds = estimate_seconds(run, per_image, runs + confirmations)
    more = f" and up to {confirmations} to confirm the answer" if confirmations else ""
    return (
        f"{runs} runs{more}, {run.n_images} images each: about {_about(seconds)} if nothing else "
        f"runs here (FP32 takes {per_image * 1000:.3g} ms per image)"
    )


def _about(seconds: float) -> str:
    """Two digits at most: it is an estimate."""
    if seconds < _MINUTE:
        return "a minute"
    minutes = seconds / _MINUTE
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.0f} hours"
