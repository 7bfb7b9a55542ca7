"""Which run this is, of which files, with which versions and hardware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.results.column import column
from bench.results.history import SCHEMA_VERSION

FP32 = "FP32"
"""What a run raced against that lost more than ``max_loss``."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Which run this is, of which files, with which versions and hardware."""

    run_key: str = column("hash of everything that can change the result", "bundle")
    status: Literal["ok", "built", "skipped", "unfaithful", "raced"] = column(
        "ok; built: an engine for another machine, not run here; skipped: the engine refused; "
        "unfaithful: the run does not compute the Q/DQ file, so its accuracy is not usable; raced: "
        "it lost a race (sweep.race) after some of the images, and has its accuracy on these alone",
        "beside",
    )
    error: str = column("why a run was skipped, is unfaithful, or lost its race", "beside")
    task: str = column("detection or classification", "bundle")
    weights: str = column("where the weights came from", "provenance", "bundle")
    model_sha256: str = column(
        "SHA-256 of the FP32 ONNX file", "condition", "graph", "provenance", "bundle"
    )
    dataset_fingerprint: str = column("hash of the validation images", "condition", "provenance")
    engine_version: str = column(
        "version of the engine", "condition", "graph", "provenance", "bundle"
    )
    builder: str = column(
        "builder of an engine of the Q/DQ file ahead of time, for another machine",
        "provenance",
        default="",
    )
    builder_version: str = column("version of the builder", "provenance", default="")
    baseline_engine: str = column(
        "what ran the FP32 ONNX baseline, on the CPU or on CUDA", "provenance", default=""
    )
    threads: int = column(
        "threads per inference; 0: the engine chooses", "condition", "graph", "provenance"
    )
    n_images: int | None = column(
        "validation images; of a raced row, those that it saw",
        "condition",
        "provenance",
        "bundle",
        unit="images",
        heading="validated on",
        default=None,
    )
    hardware: str = column(
        "processor, cores and memory", "graph", "provenance", "bundle", default=""
    )
    device: str = column("the GPU and its driver", "graph", "bundle", default="")
    environment: str = column(
        "versions of Python and the packages that matter", "provenance", "bundle", default=""
    )
    git_commit: str = column("commit of this harness", "provenance", "bundle", default="")
    harness_version: str = column("version of this harness", "provenance", default="")
    started_at: str = column("start of the run, UTC", "provenance", default="")
    schema_version: int = column("version of this schema", "provenance", default=SCHEMA_VERSION)
    source_key: str = column(
        "of a row measured on a target: the run whose files were measured there",
        default="",
    )
    plan_note: str = column(
        "what a search with plan.latency=true measured: the gain in latency with its interval, and "
        "the engine and the machine for which the plan holds",
        default="",
    )
    overrides: str = column("the Hydra overrides typed for this run", "bundle", default="")
    statistics_key: str = column(
        "key of the histogram file of this calibration set, beside the rows", default=""
    )
    calibration_overlap: int | None = column(
        "calibration images that are also evaluated, by file or content; empty for drawn images",
        unit="images",
        better="lower",
        default=None,
    )
    run_s: float | None = column(
        "the whole run, including its wait until it could be timed alone", unit="s", default=None
    )
    raced_against: str = column("of a raced row: the run that it lost against, or FP32", default="")
    raced_ahead: float | None = column(
        "of a raced row: the most by which its INT8 may be above that run's on all images (upper "
        "end of an interval that allows for all looks and runs); against FP32 as a share of FP32",
        format="difference",
        default=None,
    )
    peak_memory_mb: float | None = column(
        "peak resident memory of the process during the run",
        unit="MB",
        better="lower",
        default=None,
    )
