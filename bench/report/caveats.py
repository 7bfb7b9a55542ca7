"""What a reader must know before trusting a table: one small rule per caveat, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

import pandas as pd

from bench.claims.judgements import records_of
from bench.evaluation.interval import FEWEST_PER_CLASS
from bench.report.caveats_latency import latency_caveats
from bench.report.confidence import shift_of
from bench.report.raced import raced_in
from bench.report.wording import (
    GROUP,
    engine_name,
    known,
    measured,
    opening,
    plural,
)

FEW_IMAGES = 100
FOUND = 0.01
"""Below this metric FP32 itself detects nothing, so INT8 cannot lose anything."""

CLIPPED = 0.95
"""A calibrator rounds and drops rare extremes; below this share it clips the picture."""


def find_caveats(tidied: pd.DataFrame, reported: Collection[str] = ()) -> tuple[str, ...]:
    """All that weakens the answer, most serious first. Refusals of builders whose reasons are in
    ``reported`` are left out: the answers state them."""
    rules: tuple[Callable[[pd.DataFrame], Iterator[str]], ...] = (
        _unfaithful, _unchecked, _serialized, _emulated, _trial, _skipped, raced_in, _built,
        _unmeasured, _finds_nothing,
        partial(_builder_refused, reported=reported), _no_fp32_engine, _unlike_published,
        _strangers, _agreement, _overlap, _clipped,
        _clipped_outputs, _thresholds, _few_images, _few_per_class, _classes_left_out,
        _no_interval, latency_caveats, _builder_warned,
    )  # fmt: skip
    return tuple(sentence for rule in rules for sentence in rule(tidied))


def _unfaithful(rows: pd.DataFrame) -> Iterator[str]:
    for name, group in rows[rows["status"] == "unfaithful"].groupby(list(GROUP), sort=False):
        worst = group.sort_values("exact_sqnr_db", kind="stable").iloc[0]
        yield (
            f"{opening(name)} does not compute the Q/DQ file in {plural(len(group), 'run')}, so "
            f"their accuracy says nothing about INT8. They are not recommended, and claims do "
            f"not use them. The worst: {str(worst['error']).rstrip('.')}."
        )


def _unchecked(rows: pd.DataFrame) -> Iterator[str]:
    """Rows that no other library could compute."""
    alone = measured(rows)
    alone = alone[~alone["accuracy_by"].isin(("", "serialized engine"))]
    alone = alone[alone["exact_delta"].isna()]
    for name, group in alone.groupby(list(GROUP), sort=False):
        yield (
            f"{opening(name)} was not compared with an exact computation of the Q/DQ file in "
            f"{plural(len(group), 'run')}: no other library can run the file."
        )


def _serialized(rows: pd.DataFrame) -> Iterator[str]:
    """Engines that somebody else built."""
    engines = measured(rows)
    engines = engines[engines["accuracy_by"] == "serialized engine"]
    for name, group in engines.groupby(list(GROUP), sort=False):
        yield (
            f"{opening(name)} ran {plural(len(group), 'serialized engine')} of others: there is no "
            "Q/DQ file, so nothing says whether the accuracy is that of its INT8 as planned."
        )


def _emulated(rows: pd.DataFrame) -> Iterator[str]:
    """Accuracies computed exactly from the Q/DQ file, where the timed kernels reach others."""
    emulated = measured(rows)
    emulated = emulated[emulated["accuracy_by"] == "exact emulation"]
    emulated = emulated[emulated["measured_on"] == ""]
    for (model, dataset, *where), group in emulated.groupby(list(GROUP), sort=False):
        engine = engine_name(*map(str, where))
        least = group.loc[group["delta"].idxmax()]
        kernels = known(least["kernels_int8"])
        reach = "" if kernels is None else f" reach {kernels:.3f} {least['metric']}"
        exact = f"where the Q/DQ file has {least['int8']:.3f}"
        runs = f"{model} on {dataset}, {plural(len(group), 'run')}"
        if group["engine_options"].str.contains("accuracy_by=emulation").all():
            yield (
                f"Accuracies of {engine} are computed exactly from the Q/DQ file, as "
                f"engine.accuracy_by requests ({runs}). Latencies are those of its int8 kernels"
                + (f", which{reach} {exact}." if reach else ".")
            )
        else:
            yield (
                f"The int8 kernels of {engine} are not exact on this processor ({runs})"
                + (f": they{reach} {exact}. " if reach else ". ")
                + "Accuracies here are computed exactly in float from the Q/DQ file; latencies are "
                "those of the kernels. Do not deploy this engine in INT8 on such a processor."
            )


def _trial(rows: pd.DataFrame) -> Iterator[str]:
    """A kit that ran without a GPU."""
    trials = measured(rows)
    trials = trials[(trials["measured_on"] != "") & (trials["accuracy_by"] == "exact emulation")]
    for name, group in trials.groupby(list(GROUP), sort=False):
        yield (
            f"{opening(name)} computed its {plural(len(group), 'run')} in float on a CPU: a trial "
            "of the kit, which says nothing about INT8 on a GPU."
        )


def _skipped(rows: pd.DataFrame) -> Iterator[str]:
    skipped = rows[rows["status"] == "skipped"]
    for reason, same in skipped.groupby("error", sort=False):
        reason = str(reason).strip().rstrip(".") or "no reason was recorded"
        yield f"{plural(len(same), 'run')} of {len(rows)} skipped: {reason}."


def _built(rows: pd.DataFrame) -> Iterator[str]:
    for builder, same in _by_builder(rows[rows["status"] == "built"]):
        yield (
            f"{plural(len(same), 'run')} of {len(rows)} built an engine and did not run it: "
            f"{builder} builds ahead of time for another machine. No accuracy, no latency."
        )


def _builder_refused(rows: pd.DataFrame, reported: Collection[str]) -> Iterator[str]:
    refused = rows[(rows["builder_error"] != "") & ~rows["builder_error"].isin(list(reported))]
    for reason, same in refused.groupby("builder_error", sort=False):
        for builder, group in _by_builder(same):
            yield (
                f"{builder} refused the Q/DQ file of {plural(len(group), 'run')}: "
                f"{str(reason).rstrip('.')}."
            )


def _no_fp32_engine(rows: pd.DataFrame) -> Iterator[str]:
    built = (rows["builder"] != "") & rows["engine_bytes"].notna()
    alone = built & rows["fp32_engine_bytes"].isna()
    for builder, same in _by_builder(rows[alone]):
        yield (
            f"{builder} refused the FP32 network of {plural(len(same), 'run')}: there is no "
            "FP32 engine to compare sizes with."
        )


def _builder_warned(rows: pd.DataFrame) -> Iterator[str]:
    for said, same in rows[rows["builder_warning_text"] != ""].groupby(
        "builder_warning_text", sort=False
    ):
        for builder, group in _by_builder(same):
            yield f"{builder} warned in {plural(len(group), 'run')}: {str(said).rstrip('.')}."


_BUILDER = ["builder", "builder_version", "compute_capability"]


def _by_builder(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each builder, under its name, version and the GPUs it built for."""
    for (name, version, capability), same in rows.groupby(_BUILDER, sort=False):
        yield f"{name} {version} ({capability})", same


def _unmeasured(rows: pd.DataFrame) -> Iterator[str]:
    ok = rows[rows["status"] == "ok"]
    if missing := int(ok["delta"].isna().sum()):
        yield f"{plural(missing, 'run')} finished without an accuracy and cannot be ranked."


def finds_nothing(group: pd.DataFrame) -> bool:
    """Groups on whose images FP32 itself fails: there, calibrators cannot be compared."""
    return bool(group["fp32"].max() < FOUND)


def _finds_nothing(rows: pd.DataFrame) -> Iterator[str]:
    for name, group in measured(rows).groupby(list(GROUP), sort=False):
        if finds_nothing(group):
            reached = f"{group['fp32'].max():.3f} {group['metric'].iloc[0]}"
            yield (
                f"{opening(name)} reaches only {reached} in FP32: "
                "a difference from that says nothing about INT8."
            )


def _unlike_published(rows: pd.DataFrame) -> Iterator[str]:
    noted = rows[rows["published_note"] != ""]
    for (model, note), same in noted.groupby(["model", "published_note"], sort=False):
        yield f"{model}, {plural(len(same), 'run')}: {str(note).rstrip('.')}."


def _strangers(rows: pd.DataFrame) -> Iterator[str]:
    """Rows of one group that were not measured against the same thing."""
    for name, group in measured(rows).groupby(list(GROUP), sort=False):
        for column, what in (
            ("model_sha256", "model files"),
            ("dataset_fingerprint", "sets of images"),
            ("metric", "metrics"),
            ("n_images", "numbers of validation images"),
        ):
            if (count := group[column].nunique()) > 1:
                yield (
                    f"{opening(name)} mixes rows of {count} different {what}: "
                    "do not compare these rows with each other."
                )


def _agreement(rows: pd.DataFrame) -> Iterator[str]:
    unlabelled = measured(rows)
    unlabelled = unlabelled[unlabelled["metric"].str.startswith("agreement ")]
    for name, _ in unlabelled.groupby(list(GROUP), sort=False):
        yield (
            f"{opening(name)} has no labels: the metric is agreement with the FP32 model (FP32 "
            "itself always reaches 1). It says nothing about accuracy."
        )


def _overlap(rows: pd.DataFrame) -> Iterator[str]:
    seen = rows[rows["calibration_overlap"].fillna(0) > 0]
    for (model, dataset), same in seen.groupby(["model", "dataset"], sort=False):
        most = int(same["calibration_overlap"].max())
        yield (
            f"{model} on {dataset} was calibrated on images that are also evaluated (up to "
            f"{most} of them, {plural(len(same), 'run')}): INT8 looks better than it is."
        )


def _clipped(rows: pd.DataFrame) -> Iterator[str]:
    clipped = rows[rows["input_amax"] < CLIPPED * rows["input_true_amax"]]
    for (model, dataset, calibrator), same in clipped.groupby(
        ["model", "dataset", "calibrator_label"], sort=False
    ):
        low, high = (
            f"{value:.3f}" for value in (same["input_amax"].min(), same["input_amax"].max())
        )
        span = low if low == high else f"{low} to {high}"
        yield (
            f"{calibrator} clips the network input at {span} of "
            f"{same['input_true_amax'].max():.3f} ({model} on {dataset}, "
            f"{plural(len(same), 'run')}): bright pixels are clipped."
            f"{'' if (same['plan'] == 'file').all() else ' Compare with input_range=declared.'}"
        )


def _clipped_outputs(rows: pd.DataFrame) -> Iterator[str]:
    clipped = rows[rows["output_amax_share"] < CLIPPED]
    for (model, dataset, calibrator), same in clipped.groupby(
        ["model", "dataset", "calibrator_label"], sort=False
    ):
        share = same["output_amax_share"].min()
        yield (
            f"{calibrator} gives an output of the network only {share:.2f} of its observed "
            f"range ({model} on {dataset}, {plural(len(same), 'run')}). An engine that reads "
            "this range clips the output, as TensorRT with implicit quantization does. Q/DQ files "
            "of this program keep outputs in float: nothing is clipped there."
        )


def _thresholds(rows: pd.DataFrame) -> Iterator[str]:
    """Where INT8 needs another confidence threshold than FP32, which mAP does not see."""
    for name, group in measured(rows).groupby(list(GROUP), sort=False):
        shifts = [shift for row in records_of(group) if (shift := shift_of(row))]
        real = [shift for shift in shifts if shift.real]
        if real:
            most = max(real, key=lambda shift: shift.f1_int8 - shift.f1_at_fp32_threshold)
            yield (
                f"{opening(name)} loses F1 with FP32's confidence threshold in {len(real)} of "
                f"{plural(len(shifts), 'run')}. In the worst of them F1 falls from "
                f"{most.f1_int8:.3f} to {most.f1_at_fp32_threshold:.3f}: the best threshold is "
                f"{most.threshold_fp32:.2f} for FP32 and {most.threshold_int8:.2f} for INT8. "
                "Choose the threshold again for INT8."
            )


def _few_images(rows: pd.DataFrame) -> Iterator[str]:
    few = rows[(rows["n_images"] < FEW_IMAGES) & (rows["status"] != "raced")]
    for name, same in few.groupby(list(GROUP), sort=False):
        yield (
            f"{opening(name)} was validated on {plural(int(same['n_images'].min()), 'image')} "
            "only: the intervals are wide, and small differences mean nothing."
        )


def _few_per_class(rows: pd.DataFrame) -> Iterator[str]:
    few = measured(rows)
    few = few[few["images_per_class"] < FEWEST_PER_CLASS]
    for name, same in few.groupby(list(GROUP), sort=False):
        yield (
            f"{opening(name)} has {same['images_per_class'].min():.1f} images per class on "
            f"average: too few for a 95 % interval of mAP, which needs {FEWEST_PER_CLASS}. Losses "
            "may be larger than they look."
        )


def _classes_left_out(rows: pd.DataFrame) -> Iterator[str]:
    left = rows[2 * rows["classes_evaluated"] <= rows["n_classes"]]
    left = left[left["status"] != "raced"]
    for name, same in left.groupby(list(GROUP), sort=False):
        yield (
            f"{opening(name)} was validated on images of {int(same['classes_evaluated'].min())} of "
            f"{plural(int(same['n_classes'].max()), 'class', 'classes')}: the other classes were "
            "not measured."
        )


def _no_interval(rows: pd.DataFrame) -> Iterator[str]:
    ok = measured(rows)
    if missing := int((ok["ci_low"].isna() | ok["ci_high"].isna()).sum()):
        yield f"{plural(missing, 'run')} without an interval: their differences may be noise."
