"""TensorRT's thresholds compared with ours, tensor by tensor, on the embedded models.

Ours are the rule's result for each tensor. A run also propagates ranges through pools and
concatenations, see ``bench.quantization.plan``.
"""

from __future__ import annotations

import math
import statistics
from functools import partial

from bench.calibration.calibrator import Calibrator, find_ranges
from bench.calibration.entropy import Entropy2, doubled_range
from bench.calibration.minmax import MinMax
from bench.cli.compose import build_typed
from bench.doctor.check import Check, Finding
from bench.doctor.trt import USE_EXPLICIT, on_gpu, own_folder
from bench.run.ranges import find_run_ranges

MODELS = ("yolov8n", "resnet18", "mobilenetv2")
IMAGES, BATCH = 16, 8
"""Eight images already make ``entropy2`` clip the letterboxed input of the embedded yolov8n, at
916.5 of 2048 bins; but a second batch has to be checked, too."""

BINS = 2048
SAME_MEDIAN = 0.01
"""Largest median deviation for MinMax, whose thresholds are always the largest magnitudes."""


def compare_ranges(rule: Calibrator, model: str) -> Finding:
    """Thresholds of the native calibrator beside those of our rule, on the same images.

    For each tensor the figures hold both thresholds, the largest magnitude, and the end of
    TensorRT's histogram as documented: the first batch's largest, doubled until all values fit.

    Only MinMax must agree. How TensorRT's entropy search differs is not published: please send the
    result. TensorRT's calibrator ends with its cache: nothing is built.
    """
    with own_folder() as folder:
        run = build_typed([
            f"model={model}", "dataset.validation_images=1",
            f"dataset.calibration_images={IMAGES}", f"calibration.size={IMAGES}",
            "engine=tensorrt", "engine.mode=implicit", "placement=implicit",
            f"sweep.cache={folder}",
            f"calibrator=tensorrt_{rule.name}", f"calibrator.batch_size={BATCH}",
        ])  # fmt: skip
        native = find_run_ranges(run)
    ours = find_ranges(rule, native.calibration.snapshots)
    tensors = {
        s.name: {
            "native": native.amax[s.name],
            "own": ours[s.name],
            "largest": s.amax,
            "range": doubled_range(s, BATCH),
        }
        for s in native.calibration.snapshots
        if s.name in native.amax
    }
    source = run.model.network.input_name
    if source not in tensors:
        return Finding("fail", f"no native threshold of the input {source}", USE_EXPLICIT)
    ratios = {name: amax["native"] / amax["own"] for name, amax in tensors.items()}
    median = statistics.median(ratios.values())
    farthest = max(ratios, key=lambda name: abs(math.log(ratios[name])))
    near = sum(
        abs(amax["native"] - amax["own"]) <= amax["range"] / BINS for amax in tensors.values()
    )
    pictures = tensors[source]
    summary = (
        f"amax of TensorRT / of this program: input {pictures['native']:.4f} / "
        f"{pictures['own']:.4f} of {pictures['largest']:.4f}; {near} of {len(tensors)} "
        f"tensors within 1 of {BINS} bins, "
        f"median {median:.4f}, largest deviation {ratios[farthest]:.4f} ({farthest})"
    )
    figures = {"images": IMAGES, "batch_size": BATCH, "tensors": tensors}
    if rule.name == "minmax" and abs(median - 1) > SAME_MEDIAN:
        fix = (
            "TensorRT calibrated on other data than this program. "
            "Send the file that --json FILE writes"
        )
        return Finding("fail", summary, fix, figures)
    return Finding("pass", summary, figures=figures)


CHECKS = tuple(
    Check(f"{name}, {model}", on_gpu(partial(compare_ranges, rule, model), implicit=True))
    for name, rule in (("MinMax", MinMax()), ("Entropy-v2", Entropy2(batch_size=BATCH)))
    for model in MODELS
)
