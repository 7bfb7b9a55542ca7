"""The one schema of the results table: a run is one ``Row``, a column is data.

Each field carries its ``Column``: what it says, its unit and which direction is better. Tables,
plots and the report's page are generated from these; nothing else knows a column's meaning.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from bench.results.column import Column, column

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One run: what was asked, what was measured, and on what. Unmeasured values are None."""

    run_key: str = column("hash of everything that can change the result")
    status: Literal["ok", "built", "skipped", "unfaithful"] = column(
        "ok; built: an engine for another machine, not run here; skipped: the engine refused; "
        "unfaithful: what was run does not compute the Q/DQ file, so its accuracy says nothing"
    )
    error: str = column("why a run was skipped, or is unfaithful")

    model: str = column("model name")
    weights: str = column("where the weights came from")
    model_sha256: str = column("SHA-256 of the FP32 ONNX file")
    dataset: str = column("dataset name")
    dataset_fingerprint: str = column("hash of the validation images")
    task: str = column("detection or classification")
    calibrator: str = column("rule that turns statistics into amax")
    calibrator_params: str = column("parameters of the calibrator")
    calibration_size: int = column("calibration images", unit="images")
    calibration_seed: int = column("seed of the shuffle whose prefix is the calibration set")
    calibration_preprocess: str = column("how calibration images were fitted: same, stretch, crop")
    input_range: str = column("network input's range: calibrated or declared")
    plan: str = column("precision plan: what stays in float")
    placement: str = column(
        "which tensors carry Q/DQ: explicit, explicit_residual, implicit or implicit_tensorrt10"
    )
    engine: str = column("what ran the INT8 model")
    engine_version: str = column("version of the engine")
    batch_size: int = column("images per inference", unit="images")
    threads: int = column("threads per inference; 0 is the engine's own choice")

    metric: str = column(
        "name of the headline metric: mAP50-95 or Top-1, or agreement with FP32 by one of them"
    )
    fp32: float | None = column("FP32 ONNX baseline", better="higher", default=None)
    int8: float | None = column("INT8", better="higher", default=None)
    delta: float | None = column("INT8 minus FP32", better="higher", default=None)
    published_fp32: float | None = column(
        "what the model's authors publish for FP32, on all images of that dataset", default=None
    )
    published_note: str = column("why FP32 cannot be right, if it is far from that", default="")
    ci_low: float | None = column(
        "lower end of delta's 95 % interval over images (paired half-samples)", default=None
    )
    ci_high: float | None = column(
        "upper end of delta's 95 % interval over images (paired half-samples)", default=None
    )
    n_images: int | None = column("validation images", unit="images", default=None)
    secondary_metric: str = column("name of the second metric: mAP50 or Top-5", default="")
    secondary_fp32: float | None = column("second metric, FP32", better="higher", default=None)
    secondary_int8: float | None = column("second metric, INT8", better="higher", default=None)
    sqnr_db: float | None = column(
        "signal to quantization noise of the raw outputs, against FP32, on the first images: the "
        "lowest of their parts (a detector's boxes and scores, a classifier's logits; of several "
        "maps the worst), so that none can hide the noise of another",
        unit="dB",
        better="higher",
        default=None,
    )
    agreement_db: float | None = column(
        "SQNR of the outputs behind int8 against another library's exact computation of the Q/DQ "
        "file, on the first images, mean over the outputs' channels; with engine.mode=implicit the "
        "engine read the FP32 file and these ranges instead",
        unit="dB",
        better="higher",
        default=None,
    )
    input_amax: float | None = column("amax of the network's input", default=None)
    input_true_amax: float | None = column(
        "largest input that preprocessing can make", default=None
    )

    int8_latency_p50_ms: float | None = column(
        "INT8, median", unit="ms", better="lower", default=None
    )
    int8_latency_p90_ms: float | None = column("INT8", unit="ms", better="lower", default=None)
    int8_latency_p99_ms: float | None = column("INT8", unit="ms", better="lower", default=None)
    fp32_latency_p50_ms: float | None = column(
        "FP32 on the same engine, median", unit="ms", better="lower", default=None
    )
    fp32_latency_p90_ms: float | None = column(
        "FP32 on the same engine", unit="ms", better="lower", default=None
    )
    fp32_latency_p99_ms: float | None = column(
        "FP32 on the same engine", unit="ms", better="lower", default=None
    )
    baseline_latency_p50_ms: float | None = column(
        "FP32 ONNX baseline (ONNX Runtime), median", unit="ms", better="lower", default=None
    )
    baseline_latency_p90_ms: float | None = column(
        "FP32 ONNX baseline", unit="ms", better="lower", default=None
    )
    baseline_latency_p99_ms: float | None = column(
        "FP32 ONNX baseline", unit="ms", better="lower", default=None
    )
    latency_rounds: int | None = column("alternating rounds timed", default=None)
    speedup: float | None = column(
        "FP32 over INT8 on the same engine, medians", unit="x", better="higher", default=None
    )
    speedup_baseline: float | None = column(
        "FP32 ONNX baseline over INT8, medians", unit="x", better="higher", default=None
    )
    throughput: float | None = column(
        "INT8 images a second at this batch size", unit="1/s", better="higher", default=None
    )
    int8_mac_share: float | None = column(
        "share of multiply-accumulates the engine really ran in INT8", better="higher", default=None
    )
    planned_mac_share: float | None = column(
        "share of multiply-accumulates the plan quantizes", default=None
    )
    latency_note: str = column("why the latency says little, if it does", default="")

    collect_s: float | None = column(
        "FP32 pass with statistics over this calibration set",
        unit="s",
        better="lower",
        default=None,
    )
    threshold_s: float | None = column(
        "finding every amax from the statistics", unit="s", better="lower", default=None
    )
    build_s: float | None = column(
        "inserting Q/DQ and building the engine", unit="s", better="lower", default=None
    )
    engine_bytes: int | None = column(
        "size of the Q/DQ artefact", unit="B", better="lower", default=None
    )
    peak_memory_mb: float | None = column(
        "peak resident memory of the process during the run",
        unit="MB",
        better="lower",
        default=None,
    )

    hardware: str = column("processor, cores and memory", default="")
    environment: str = column("versions of Python and the packages that matter", default="")
    git_commit: str = column("commit of this harness", default="")
    started_at: str = column("start of the run, UTC", default="")
    run_s: float | None = column("the whole run", unit="s", default=None)
    calibration_fingerprint: str = column("hash of all calibration images", default="")
    scheme: str = column("integers of activations: symmetric or asymmetric", default="symmetric")
    weight_scales: str = column(
        "scales of weights: per_channel or per_tensor, max or mse", default="per_channel max"
    )
    statistics_key: str = column(
        "names the file of histograms of this calibration set, beside the rows", default=""
    )
    calibration_strategy: str = column(
        "how the calibration images were ordered: random, balanced over classes, or a list",
        default="random",
    )
    calibration_overlap: int | None = column(
        "calibration images that are also evaluated, by file or content; none where they are drawn",
        unit="images",
        better="lower",
        default=None,
    )
    builder: str = column(
        "what built an engine of the Q/DQ file ahead of time, for another machine", default=""
    )
    builder_version: str = column("version of the builder", default="")
    compute_capability: str = column(
        "GPUs that the builder built for: SM89 is compute capability 8.9", default=""
    )
    built_engine_bytes: int | None = column(
        "size of the INT8 engine, of the builder or of TensorRT",
        unit="B",
        better="lower",
        default=None,
    )
    built_engine_s: float | None = column(
        "building the engine of the Q/DQ file", unit="s", better="lower", default=None
    )
    fp32_engine_bytes: int | None = column(
        "size of the engine that the builder made of the FP32 ONNX file",
        unit="B",
        better="lower",
        default=None,
    )
    fp32_engine_s: float | None = column(
        "building the engine of the FP32 ONNX file", unit="s", better="lower", default=None
    )
    fp16_engine_bytes: int | None = column(
        "size of the engine that the builder made of it in FP16",
        unit="B",
        better="lower",
        default=None,
    )
    fp16_engine_s: float | None = column(
        "building the FP16 engine", unit="s", better="lower", default=None
    )
    builder_warnings: int | None = column(
        "warnings of parser and builder on the Q/DQ file", default=None
    )
    builder_said: str = column("the first of these warnings", default="")
    builder_error: str = column(
        "why the builder refused, where the row stands without its engine", default=""
    )
    overrides: str = column("what was typed for this run: Hydra overrides", default="")
    output_amax_share: float | None = column(
        "smallest amax over the largest |x| observed, of the network's outputs that have a range",
        default=None,
    )
    f1_threshold_fp32: float | None = column(
        "score from which on believing FP32's detections gives the best F1 (IoU 0.5, all classes)",
        default=None,
    )
    f1_threshold_int8: float | None = column("the same of INT8", default=None)
    f1_fp32: float | None = column("FP32's best F1", better="higher", default=None)
    f1_int8: float | None = column("INT8's best F1", better="higher", default=None)
    f1_int8_at_fp32_threshold: float | None = column(
        "INT8's F1 where FP32's threshold is kept", better="higher", default=None
    )
    f1_kept_ci_low: float | None = column(
        "95 % interval, low end: INT8's F1 at FP32's threshold minus that at its own, each "
        "threshold chosen on the other half of the images",
        default=None,
    )
    f1_kept_ci_high: float | None = column("its high end", default=None)
    schema_version: int = column("version of this schema", default=SCHEMA_VERSION)
    calibration_pad: str = column(
        "padding of calibration images: same (as the model's), a grey level, or noise",
        default="same",
    )
    fp16: float | None = column(
        "the same engine in FP16, where it has that", better="higher", default=None
    )
    fp16_delta: float | None = column("FP16 minus FP32", better="higher", default=None)
    fp16_ci_low: float | None = column("lower end of its 95 % interval", default=None)
    fp16_ci_high: float | None = column("upper end of its 95 % interval", default=None)
    fp16_latency_p50_ms: float | None = column(
        "FP16 on the same engine, median", unit="ms", better="lower", default=None
    )
    fp16_latency_p90_ms: float | None = column(
        "FP16 on the same engine", unit="ms", better="lower", default=None
    )
    fp16_latency_p99_ms: float | None = column(
        "FP16 on the same engine", unit="ms", better="lower", default=None
    )
    speedup_fp16: float | None = column(
        "FP16 over INT8 on the same engine, medians", unit="x", better="higher", default=None
    )
    engine_options: str = column(
        "options of the engine that are not as they come, such as streams=4", default=""
    )
    int8_layers: int | None = column(
        "the engine's convolution and matrix layers that ran in INT8; layers/ names them",
        default=None,
    )
    product_layers: int | None = column("the engine's convolution and matrix layers", default=None)
    int8_unmet: int | None = column(
        "convolutions and matrix products that the plan quantizes and the engine ran in float",
        better="lower",
        default=None,
    )
    calibration_batches: int | None = column(
        "batches that TensorRT's own calibrator really consumed", default=None
    )
    device: str = column("the GPU and its driver", default="")
    device_latency_p50_ms: float | None = column(
        "INT8 by the GPU's own clock, device memory to device memory, median",
        unit="ms",
        better="lower",
        default=None,
    )
    device_latency_p90_ms: float | None = column(
        "INT8 by the GPU's own clock", unit="ms", better="lower", default=None
    )
    device_latency_p99_ms: float | None = column(
        "INT8 by the GPU's own clock", unit="ms", better="lower", default=None
    )
    fp32_device_latency_p50_ms: float | None = column(
        "FP32 on the same engine by the GPU's own clock, median",
        unit="ms",
        better="lower",
        default=None,
    )
    fp16_device_latency_p50_ms: float | None = column(
        "FP16 on the same engine by the GPU's own clock, median",
        unit="ms",
        better="lower",
        default=None,
    )
    device_throughput: float | None = column(
        "INT8 images a second, device memory to device memory, engine.streams in flight",
        unit="1/s",
        better="higher",
        default=None,
    )
    device_memory_mb: float | None = column(
        "GPU memory that an execution of the engine needs besides its weights",
        unit="MB",
        better="lower",
        default=None,
    )
    device_clock_mhz: int | None = column(
        "clock of the GPU right after the timing", unit="MHz", default=None
    )
    device_temperature_c: int | None = column(
        "temperature of the GPU right after the timing", unit="°C", default=None
    )
    baseline_engine: str = column(
        "what ran the FP32 ONNX baseline, on the CPU or on CUDA", default=""
    )
    accuracy_by: str = column(
        "what int8 was measured with: the engine's int8 kernels or, where these are not exact on "
        "this processor, an exact emulation of the Q/DQ file; latency is that of the kernels",
        default="",
    )
    agreement_limit_db: float | None = column(
        "what agreement_db has to reach: the file's own rounding noise, with a margin",
        unit="dB",
        default=None,
    )
    agreement_delta: float | None = column(
        "the metric on those images, minus that of the exact computation", default=None
    )
    kernels_int8: float | None = column(
        "the metric of the engine's int8 kernels on this processor, where int8 is an emulation's",
        better="higher",
        default=None,
    )
    kernels_delta: float | None = column("kernels_int8 minus FP32", better="higher", default=None)
    kernels_ci_low: float | None = column("lower end of its 95 % interval", default=None)
    kernels_ci_high: float | None = column("upper end of its 95 % interval", default=None)
    f1_loss_ci_low: float | None = column(
        "95 % interval, low end: INT8's F1 at FP32's threshold minus FP32's F1, the threshold "
        "chosen on the other half of the images",
        default=None,
    )
    f1_loss_ci_high: float | None = column("its high end", default=None)
    images_per_class: float | None = column(
        "validation images of a class, mean over the classes that there are (detection only)",
        default=None,
    )
    rounding_sd: float | None = column(
        "standard deviation of int8 when every activation scale moves by a millionth: what "
        "rounding alone does",
        default=None,
    )
    classes_evaluated: int | None = column(
        "classes that the evaluated images show; of a detector, with an object to find",
        default=None,
    )
    n_classes: int | None = column("classes of the dataset", default=None)
    sqnr_boxes_db: float | None = column(
        "SQNR of a detector's raw boxes; of networks that sort their boxes by score, rank by rank",
        unit="dB",
        better="higher",
        default=None,
    )
    sqnr_scores_db: float | None = column(
        "SQNR of a detector's raw scores, objectness included",
        unit="dB",
        better="higher",
        default=None,
    )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Row:
        """Raises ``TypeError`` when the values were written with another schema."""
        row = cls(**values)
        if row.schema_version != SCHEMA_VERSION:
            raise TypeError(f"schema version {row.schema_version}, not {SCHEMA_VERSION}")
        return row


COLUMNS: dict[str, Column] = {f.name: f.metadata["column"] for f in dataclasses.fields(Row)}


def run_key(**everything: object) -> str:
    """A hash of all that can change a result; the schema's version is part of it."""
    text = json.dumps({"schema": SCHEMA_VERSION, **everything}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
