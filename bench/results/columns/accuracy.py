"""The difference of INT8 from FP32, and its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The difference of INT8 from FP32, and its uncertainty."""

    metric: str = column(
        "name of the headline metric: mAP50-95 or Top-1, or agreement with FP32 by one of them",
        "condition",
        "beside",
        "bundle",
    )
    fp32: float | None = column(
        "FP32 ONNX baseline", "result", "bundle", better="higher", heading="FP32", default=None
    )
    int8: float | None = column(
        "INT8", "result", "bundle", better="higher", heading="INT8", default=None
    )
    delta: float | None = column(
        "INT8 minus FP32", "result", "bundle", better="higher", format="difference", default=None
    )
    ci_low: float | None = column(
        "lower end of delta's 95 % interval over images (paired half-samples)",
        "result",
        "bundle",
        heading="95 % low",
        format="difference",
        default=None,
    )
    ci_high: float | None = column(
        "upper end of delta's 95 % interval over images (paired half-samples)",
        "beside",
        "bundle",
        heading="95 % high",
        format="difference",
        default=None,
    )
    predicted_int8: float | None = column(
        "of a row measured on a target: INT8 of the same Q/DQ file as it was computed here",
        "foretold",
        better="higher",
        heading="predicted here",
        default=None,
    )
    engine_fp32: float | None = column(
        "of a row measured on a target: the FP32 network on the target's engine",
        "foretold",
        better="higher",
        heading="FP32 there",
        default=None,
    )
    published_fp32: float | None = column(
        "what the model's authors publish for FP32, on all images of that dataset", default=None
    )
    published_note: str = column(
        "why the FP32 metric must be wrong, if it is far from the published one", default=""
    )
    secondary_metric: str = column("name of the second metric: mAP50 or Top-5", default="")
    secondary_fp32: float | None = column("second metric, FP32", better="higher", default=None)
    secondary_int8: float | None = column("second metric, INT8", better="higher", default=None)
    images_per_class: float | None = column(
        "validation images per class, mean over the classes that occur (detection only)",
        default=None,
    )
    classes_evaluated: int | None = column(
        "classes in the evaluated images; for a detector, classes with an object to detect",
        default=None,
    )
    n_classes: int | None = column("classes of the dataset", default=None)
    fp16: float | None = column(
        "metric of the same engine in FP16, if it supports FP16",
        "fp16",
        better="higher",
        heading="FP16",
        default=None,
    )
    fp16_delta: float | None = column(
        "FP16 minus FP32", better="higher", format="difference", default=None
    )
    fp16_ci_low: float | None = column(
        "lower end of its 95 % interval", format="difference", default=None
    )
    fp16_ci_high: float | None = column(
        "upper end of its 95 % interval", format="difference", default=None
    )
    f1_threshold_fp32: float | None = column(
        "FP32's confidence threshold with the best F1 (IoU 0.5, all classes)",
        default=None,
    )
    f1_threshold_int8: float | None = column(
        "INT8's confidence threshold with the best F1", default=None
    )
    f1_fp32: float | None = column("FP32's best F1", better="higher", default=None)
    f1_int8: float | None = column("INT8's best F1", better="higher", default=None)
    f1_int8_at_fp32_threshold: float | None = column(
        "INT8's F1 at FP32's threshold", better="higher", default=None
    )
    f1_loss_ci_low: float | None = column(
        "95 % interval, low end: INT8's F1 at FP32's threshold minus FP32's F1, the threshold "
        "chosen on the other half of the images",
        format="difference",
        default=None,
    )
    f1_loss_ci_high: float | None = column("its high end", format="difference", default=None)
    f1_threshold_loss_ci_low: float | None = column(
        "95 % interval, low end: INT8's F1 at FP32's threshold minus INT8's F1 at INT8's "
        "threshold, each threshold chosen on the other half of the images",
        format="difference",
        default=None,
    )
    f1_threshold_loss_ci_high: float | None = column(
        "its high end", format="difference", default=None
    )
