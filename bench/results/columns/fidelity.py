"""Whether INT8 computes the Q/DQ file, and what quantization does to ranges and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Whether INT8 computes the Q/DQ file, and what quantization does to ranges and outputs."""

    sqnr_db: float | None = column(
        "signal to quantization noise of the raw outputs against FP32, on the first images: the "
        "lowest of their parts (a detector's boxes and scores, a classifier's logits; the worst of "
        "several maps), so that no part can hide the noise of another",
        "bundle",
        unit="dB",
        better="higher",
        heading="SQNR",
        default=None,
    )
    sqnr_boxes_db: float | None = column(
        "SQNR of a detector's raw boxes; rank by rank for networks that sort boxes by score",
        unit="dB",
        better="higher",
        heading="SQNR of boxes",
        default=None,
    )
    sqnr_scores_db: float | None = column(
        "SQNR of a detector's raw scores, objectness included",
        unit="dB",
        better="higher",
        heading="SQNR of scores",
        default=None,
    )
    accuracy_by: str = column(
        "how int8 was measured: with the engine's int8 kernels or, where these are not exact on "
        "this processor, with an exact emulation of the Q/DQ file; a serialized engine of others "
        "has no such file and is measured as it is; latency is always the kernels'",
        "bundle",
        default="",
    )
    exact_sqnr_db: float | None = column(
        "SQNR of the outputs behind int8 against another library's exact computation of the Q/DQ "
        "file, on the first images, mean over the outputs' channels; with engine.mode=implicit the "
        "engine read the FP32 file and these ranges instead",
        unit="dB",
        better="higher",
        default=None,
    )
    exact_sqnr_limit_db: float | None = column(
        "least exact_sqnr_db for a faithful run: the rounding noise of the file, with a margin",
        unit="dB",
        default=None,
    )
    exact_delta: float | None = column(
        "the metric on those images, minus that of the exact computation",
        format="difference",
        default=None,
    )
    kernels_int8: float | None = column(
        "the metric of the engine's int8 kernels on this processor, where int8 is emulated; empty "
        "for engine.accuracy_by=emulation with timing=off",
        "kernels",
        "bundle",
        better="higher",
        heading="INT8 kernels here",
        default=None,
    )
    kernels_delta: float | None = column(
        "kernels_int8 minus FP32", better="higher", format="difference", default=None
    )
    kernels_ci_low: float | None = column(
        "lower end of its 95 % interval", format="difference", default=None
    )
    kernels_ci_high: float | None = column(
        "upper end of its 95 % interval", format="difference", default=None
    )
    rounding_sd: float | None = column(
        "standard deviation of int8 when every activation scale moves by a millionth: the effect "
        "of rounding alone",
        default=None,
    )
    input_amax: float | None = column("amax of the network's input", default=None)
    input_true_amax: float | None = column(
        "largest input value that preprocessing can produce", default=None
    )
    output_amax_share: float | None = column(
        "smallest amax / largest observed |x| over the network's outputs that have a range",
        format="share",
        default=None,
    )
