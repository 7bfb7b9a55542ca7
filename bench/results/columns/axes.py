"""What was asked: a run is one value on each axis."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What was asked: a run is one value on each axis."""

    model: str = column("model name")
    dataset: str = column("dataset name")
    dataset_options: str = column(
        "options of the dataset that are not as they come, such as calibration_domain=day",
        default="",
    )
    calibrator: str = column("rule that turns statistics into amax")
    calibrator_params: str = column("parameters of the calibrator")
    calibration_size: int = column("calibration images", unit="images")
    calibration_seed: int = column("seed of the shuffle whose prefix is the calibration set")
    plan: str = column("precision plan: what stays in float")
    placement: str = column(
        "which tensors carry Q/DQ: explicit, explicit_residual, implicit or implicit_tensorrt10"
    )
    scheme: str = column("integers of activations: symmetric or asymmetric", default="symmetric")
    weight_scales: str = column(
        "scales of weights: per_channel or per_tensor, max or mse", default="per_channel max"
    )
    input_range: str = column("network input's range: calibrated or declared")
    calibration_fingerprint: str = column("hash of all calibration images", default="")
    calibration_preprocess: str = column("how calibration images were fitted: same, stretch, crop")
    calibration_pad: str = column(
        "padding of calibration images: same (as the model's), a grey level, or noise",
        default="same",
    )
    calibration_strategy: str = column(
        "how the calibration images were ordered: random, balanced over classes, or a list",
        default="random",
    )
    engine: str = column("what ran the INT8 model")
    batch_size: int = column("images per inference", unit="images")
    compute_capability: str = column(
        "GPUs that the builder built for: SM89 is compute capability 8.9", default=""
    )
    engine_options: str = column(
        "options of the engine that are not as they come, such as streams=4", default=""
    )
