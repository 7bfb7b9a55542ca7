"""The axes: a run has one value on each axis."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The axes: a run has one value on each axis."""

    model: str = column("model name", "axis", "group", "beside", "bundle")
    dataset: str = column("dataset name", "axis", "group", "beside", "bundle")
    dataset_options: str = column(
        "options of the dataset that differ from the default, such as calibration_domain=day",
        default="",
    )
    calibrator: str = column(
        "rule that turns statistics into amax, or the file with the ranges",
        "axis",
        "effect",
        "key",
        "bundle",
    )
    calibrator_params: str = column(
        "parameters of the calibrator",
        "axis",
        "beside",
        "bundle",
        heading="parameters",
        verdict="parameters",
    )
    calibration_size: int = column(
        "calibration images",
        "axis",
        "effect",
        "key",
        "bundle",
        unit="images",
        heading="size",
        verdict="size",
    )
    calibration_seed: int = column(
        "seed of the shuffle whose prefix is the calibration set",
        "axis",
        "effect",
        "bundle",
        heading="seed",
    )
    calibration_fingerprint: str = column(
        "hash of all calibration images",
        "axis",
        "fingerprint",
        label="calibration images {}",
        label_order=5,
        default="",
    )
    calibration_preprocess: str = column(
        "how calibration images were fitted: same, stretch, crop",
        "axis",
        "effect",
        "bundle",
        heading="fitted",
        phrase="fitting of calibration images",
        label="calibration fit {}",
        label_order=6,
        ordinary="same",
    )
    calibration_pad: str = column(
        "padding of calibration images: same (as the model's), a grey level, or noise",
        "axis",
        "effect",
        heading="padded",
        phrase="padding of calibration images",
        label="calibration padding {}",
        label_order=7,
        ordinary="same",
        default="same",
    )
    calibration_strategy: str = column(
        "how the calibration images were ordered: random, balanced over classes, or a list",
        "axis",
        "effect",
        "bundle",
        heading="order",
        phrase="order of calibration images",
        label="calibration order {}",
        label_order=8,
        ordinary="random",
        default="random",
    )
    input_range: str = column(
        "network input's range: calibrated or declared",
        "axis",
        "effect",
        "bundle",
        label="{} input range",
        label_order=4,
        ordinary="calibrated",
    )
    plan: str = column(
        "precision plan: which layers stay in float; file: as the quantized file has it",
        "axis",
        "effect",
        "graph",
        "key",
        "bundle",
    )
    placement: str = column(
        "which tensors carry Q/DQ: explicit, explicit_residual, implicit or implicit_tensorrt10; "
        "empty: as a quantized file has it",
        "axis",
        "effect",
        "graph",
        "bundle",
        label="{} placement",
        label_order=1,
        ordinary="explicit",
    )
    scheme: str = column(
        "integers of activations: symmetric or asymmetric",
        "axis",
        "effect",
        "graph",
        label="{}",
        label_order=2,
        ordinary="symmetric",
        default="symmetric",
    )
    weight_scales: str = column(
        "scales of weights: per_channel or per_tensor, max or mse; empty: as a quantized file has "
        "them",
        "axis",
        "effect",
        "graph",
        "bundle",
        phrase="scales of weights",
        label="weights {}",
        label_order=3,
        ordinary="per_channel max",
        default="per_channel max",
    )
    engine: str = column("what ran the INT8 model", "axis", "group", "beside", "bundle")
    measured_on: str = column(
        "the target on which a kit measured this row; empty: this machine",
        "axis",
        "group",
        "beside",
        "bundle",
        default="",
    )
    engine_options: str = column(
        "options of the engine that differ from the default, such as streams=4",
        "axis",
        "effect",
        "graph",
        label="{}",
        label_order=11,
        default="",
    )
    compute_capability: str = column(
        "GPUs that the builder built for: SM89 is compute capability 8.9",
        "axis",
        label="for {}",
        label_order=10,
        default="",
    )
    batch_size: int = column(
        "images per inference",
        "axis",
        "effect",
        "graph",
        unit="images",
        label="batch {}",
        label_order=9,
    )
