"""Rows and tables for the report's tests: what no test says stays as here."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from bench.results.row import Row
from bench.results.table import make_table

_numbers = itertools.count()


def make_row(**changes: Any) -> Row:
    """A measured run; ``delta`` and ``noise`` (half the interval) settle the accuracy."""
    fp32, delta, noise = 0.6, changes.pop("delta", -0.01), changes.pop("noise", 0.004)
    if delta is None:
        changes = dict.fromkeys(("int8", "ci_low", "ci_high")) | changes
    values: dict[str, Any] = {
        "run_key": f"key{next(_numbers):05d}", "status": "ok", "error": "", "model": "yolov8n",
        "weights": "carried", "model_sha256": "a" * 64, "dataset": "shapes",
        "dataset_fingerprint": "f1", "task": "detection", "calibrator": "minmax",
        "calibrator_params": "", "calibration_size": 64, "calibration_seed": 0,
        "calibration_preprocess": "same", "input_range": "calibrated", "plan": "all",
        "placement": "explicit", "engine": "openvino", "engine_version": "2026.1", "batch_size": 1,
        "threads": 2, "metric": "mAP50-95", "fp32": fp32, "int8": fp32 + (delta or 0),
        "delta": delta, "ci_low": (delta or 0) - noise, "ci_high": (delta or 0) + noise,
        "n_images": 400, "input_amax": 1.0, "input_true_amax": 1.0, "int8_latency_p50_ms": 20.0,
        "fp32_latency_p50_ms": 40.0, "baseline_latency_p50_ms": 44.0, "speedup": 2.0,
        "int8_mac_share": 0.98, "collect_s": 3.0, "threshold_s": 0.5, "build_s": 1.0,
        "hardware": "a machine", "environment": "Python 3.11", "git_commit": "abc1234",
        "started_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    asked = values | changes
    typed = f"model={asked['model']} calibrator={asked['calibrator']} plan={asked['plan']}"
    return Row(**({"overrides": typed} | asked))


def make_skip(**changes: Any) -> Row:
    """A run that its engine refused: nothing was measured."""
    nothing = dict.fromkeys(
        ("fp32", "n_images", "input_amax", "int8_latency_p50_ms", "fp32_latency_p50_ms",
         "baseline_latency_p50_ms", "speedup", "int8_mac_share", "collect_s", "threshold_s",
         "build_s")
    )  # fmt: skip
    refused = {"status": "skipped", "error": "no depthwise layers", "delta": None}
    return make_row(**(nothing | refused | changes))


def make_built(**changes: Any) -> Row:
    """A run that ended with an engine for another machine."""
    engine = {
        "status": "built", "error": "", "engine": "tensorrt_rtx", "engine_version": "1.7.1.116",
        "builder": "tensorrt_rtx", "builder_version": "1.7.1.116", "compute_capability": "SM89",
        "engine_bytes": 4_200_000, "engine_build_s": 1.5, "fp32_engine_bytes": 6_800_000,
        "fp32_engine_s": 0.8, "fp16_engine_bytes": 3_500_000, "fp16_engine_s": 0.7,
        "builder_warnings": 0, "planned_mac_share": 1.0,
    }  # fmt: skip
    return make_skip(**(engine | changes))


@pytest.fixture
def built() -> Callable[..., Row]:
    return make_built


@pytest.fixture
def row() -> Callable[..., Row]:
    return make_row


@pytest.fixture
def skip() -> Callable[..., Row]:
    return make_skip


@pytest.fixture(scope="session")
def sweep() -> pd.DataFrame:
    """Three calibrators, two sizes, two plans: mse with the head in float loses least, by far."""
    loss = {"minmax": 0.03, "entropy2": 0.2, "mse": 0.02}
    rows = [
        make_row(
            calibrator=calibrator,
            calibration_size=size,
            plan=plan,
            delta=-loss[calibrator] * (0.1 if plan == "float_head" else 1.0) - 0.2 / size,
            noise=0.0005,
            int8_latency_p50_ms=20.0 if plan == "all" else 24.0,
            speedup=2.0 if plan == "all" else 1.7,
        )
        for calibrator in loss
        for size in (8, 64)
        for plan in ("all", "float_head")
    ]
    return make_table(rows)
