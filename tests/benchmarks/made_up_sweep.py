"""A made-up sweep of thousands of runs: rows and all files of each, as large as those of real runs.

Of 20 models x 8 calibrators x 6 sizes x 5 plans x 3 seeds as many as are asked for, model by model.
Sizes are those of the embedded YOLOv8n: 400 images of 10 classes, about 100 tensors, 64 layers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.calibration.trt_cache import to_json
from bench.evaluation.judgement import pack_judgement, save_judgement
from bench.results.error_analysis import Box, Example, Losses, LossStore, Part, View
from bench.results.folder import SweepFolder
from bench.results.histograms import HistogramStore, TensorHistogram
from bench.results.row import Row
from bench.results.store import RowStore

CALIBRATORS = (
    "minmax", "percentile", "mse", "entropy2", "entropy", "legacy", "moving_average",
    "asymmetric_mse",
)  # fmt: skip
PLANS = ("all", "float_first", "float_head", "float_first_and_head", "float_depthwise")
SIZES = (8, 16, 32, 64, 128, 256)
SEEDS = (0, 1, 2)
IMAGES, HALVES, TENSORS, LAYERS = 400, 600, 100, 64
CLASSES = ("circle", "square", "triangle", "star", "cross", "ring", "bar", "arc", "dot", "wave")
FP32 = 0.75


def made_up_rows(count: int) -> Iterator[Row]:
    """So many rows, always the same ones."""
    random = np.random.default_rng(0)
    models = -(-count // (len(SEEDS) * len(CALIBRATORS) * len(SIZES) * len(PLANS)))
    axes = itertools.product(range(models), SEEDS, CALIBRATORS, SIZES, PLANS)
    for number, (model, seed, calibrator, size, plan) in enumerate(itertools.islice(axes, count)):
        loss = 0.004 * CALIBRATORS.index(calibrator) + 0.01 * (plan == "all") + 0.1 / size
        yield _row(number, f"model{model:02d}", seed, calibrator, size, plan, loss, random)


def write_sweep(folder: Path, count: int) -> None:
    """``made_up_rows`` through the stores that a run writes to."""
    random, rows = np.random.default_rng(1), RowStore(folder)
    fp32: Any = None
    model = ""
    for row in made_up_rows(count):
        if row.model != model:
            model, fp32 = row.model, FP32 + random.normal(0, 0.01, HALVES)
        _write_files(folder, row, fp32, random)
        rows.add(row, {name: _latencies(random) for name in ("int8_ns", "fp32_ns", "baseline_ns")})


def _write_files(folder: Path, row: Row, fp32: Any, random: np.random.Generator) -> None:
    assert row.delta is not None
    halves = fp32 + row.delta + random.normal(0, 0.002, HALVES)
    judged = pack_judgement(np.ones(IMAGES, np.bool_), halves, fp32, 0.0)
    path = SweepFolder(folder).judged(row.run_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        save_judgement(file, judged)
    LossStore(folder).add(row.run_key, _losses(row, random))
    store = HistogramStore(folder)
    names = [f"/model.{i // 4}/cv{i % 4}/act/Mul_output_0" for i in range(TENSORS)]
    amax = random.uniform(1, 20, TENSORS)
    store.add_ranges(row.run_key, to_json(dict(zip(names, amax.tolist(), strict=True))))
    store.add_histograms(row.statistics_key, lambda: [_histogram(name, random) for name in names])
    layers = {
        f"/model.{i // 4}/cv{i % 4}/conv/Conv": {
            "op": "Conv", "macs": 7077888 + i, "planned_int8": True, "ran_int8": True,
        }
        for i in range(LAYERS)
    }  # fmt: skip
    path = SweepFolder(folder).layers(row.run_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(layers, indent=1) + "\n")


def _row(
    number: int, model: str, seed: int, calibrator: str, size: int, plan: str, loss: float,
    random: np.random.Generator,
) -> Row:  # fmt: skip
    delta = -loss + float(random.normal(0, 0.002))
    slow = 1.0 + 0.1 * PLANS.index(plan)
    latency = float(random.normal(11 * slow, 0.2))
    typed = (
        f"model={model} dataset=shapes calibrator={calibrator} calibration.size={size} "
        f"calibration.seed={seed} plan={plan} engine=openvino"
    )
    draw = (float(value) for value in random.uniform(0.5, 1.5, 40))
    return Row(
        run_key=f"{number * 2654435761 % 2**64:016x}", status="ok", error="", model=model,
        weights=f"file {model}_shapes.onnx", model_sha256=model.ljust(64, "0"), dataset="shapes",
        dataset_fingerprint="de0d7b246b08c0fe80fa", task="detection", calibrator=calibrator,
        calibrator_params="bins=2048", calibration_size=size, calibration_seed=seed,
        calibration_preprocess="same", input_range="calibrated", plan=plan, placement="explicit",
        engine="openvino", engine_version="2026.4.1", batch_size=1, threads=0, metric="mAP50-95",
        fp32=FP32, int8=FP32 + delta, delta=delta, ci_low=delta - 0.003 * next(draw),
        ci_high=delta + 0.003 * next(draw), n_images=IMAGES, secondary_metric="mAP50",
        secondary_fp32=0.91, secondary_int8=0.91 + delta, sqnr_db=20 * next(draw),
        exact_sqnr_db=30 * next(draw), input_amax=next(draw), input_true_amax=1.0,
        int8_latency_p50_ms=latency, int8_latency_p90_ms=latency * 1.4,
        fp32_latency_p50_ms=17.0 * next(draw) ** 0.1, fp32_latency_p90_ms=23.0 * next(draw),
        baseline_latency_p50_ms=26.0 * next(draw) ** 0.1, baseline_latency_p90_ms=31 * next(draw),
        latency_rounds=16, speedup=17.0 / latency, speedup_baseline=26.0 / latency,
        throughput=1000 / latency, int8_mac_share=0.99, planned_mac_share=0.99,
        collect_s=5 * next(draw), threshold_s=next(draw), build_s=next(draw), qdq_bytes=3222663,
        peak_memory_mb=1201 * next(draw), hardware="AMD EPYC (avx512_vnni), 2 cores, 24 GiB",
        environment="Linux x86_64, Python 3.11.7, numpy 2.2.6, onnxruntime 1.23.2",
        git_commit="833b190de718", run_s=11 * next(draw),
        started_at=f"2026-11-30T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:"
        f"{number % 60:02d}.{number // 86400:06d}+00:00",
        calibration_fingerprint="db72520eb355290f8ecc", weight_scales="per_channel max",
        statistics_key=f"{model}-{size}-{seed}", overrides=typed, f1_threshold_fp32=0.45,
        f1_threshold_int8=0.45 * next(draw), f1_fp32=0.85, f1_int8=0.85 * next(draw),
        f1_int8_at_fp32_threshold=0.84 * next(draw), f1_threshold_loss_ci_low=-0.005 * next(draw),
        f1_threshold_loss_ci_high=0.004 * next(draw), int8_layers=57, product_layers=LAYERS,
        planned_layers_in_float=0, baseline_engine="onnxruntime 1.23.2",
        accuracy_by="int8 kernels", exact_sqnr_limit_db=28.4 * next(draw),
        exact_delta=0.0004 * next(draw), f1_loss_ci_low=-0.006 * next(draw),
        f1_loss_ci_high=0.003 * next(draw), images_per_class=181.2, classes_evaluated=10,
        n_classes=10, sqnr_boxes_db=33 * next(draw), sqnr_scores_db=23 * next(draw),
        harness_version="0.1.0",
    )  # fmt: skip


def _latencies(random: np.random.Generator) -> list[int]:
    return [int(value) for value in random.normal(11e6, 1e5, 16)]


def _losses(row: Row, random: np.random.Generator) -> Losses:
    """Ten classes, three sizes and four pictures of nine objects."""
    parts = tuple(
        Part(name, 230, 0.8, 0.8 + float(random.normal(row.delta, 0.01)), -0.01, 0.01, 180)
        for name in CLASSES
    )
    sizes = tuple(Part(name, 700, 0.8, 0.79) for name in ("small", "medium", "large"))
    pictures = (int(number) for number in random.integers(0, 40, 4))
    examples = tuple(
        Example(
            f"{number:05d}.png", f"picture{number:02d}", 192, 192, "2 circle, 1 star",
            _view(random), _view(random),
        )
        for number in pictures
    )  # fmt: skip
    return Losses("object", 45, 28, 0.45, parts, sizes, examples)


def _view(random: np.random.Generator) -> View:
    boxes = (
        Box(tuple(random.uniform(0, 1, 4).round(4).tolist()), CLASSES[i], "right", 0.9)
        for i in range(9)
    )
    return View("9 right, 0 wrong, 0 missed", tuple(boxes))


def _histogram(name: str, random: np.random.Generator) -> TensorHistogram:
    counts = (3e3 * np.exp(-np.arange(2048) / 90) * random.uniform(0.9, 1.1, 2048)).astype(int)
    return TensorHistogram(name, -1.0, 20.0, int(counts.sum()), counts)
