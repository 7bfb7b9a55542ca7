"""How rows of older schemas are read: their columns get the present names.

A row says by ``schema_version`` which names it has, and only that decides: ``engine_bytes`` was the
size of the Q/DQ file in version 1, and is that of the engine since version 2. Rows from before a
column was added have its default; the dataset's options of version 1 are those that were typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.results.options import typed_dataset_options

SCHEMA_VERSION = 2
FIRST_VERSION = 1
"""The version of rows that do not state one."""

RENAMED: Mapping[int, Mapping[str, str]] = {
    1: {
        "engine_bytes": "qdq_bytes",
        "built_engine_bytes": "engine_bytes",
        "built_engine_s": "engine_build_s",
        "agreement_db": "exact_sqnr_db",
        "agreement_limit_db": "exact_sqnr_limit_db",
        "agreement_delta": "exact_delta",
        "int8_unmet": "planned_layers_in_float",
        "f1_kept_ci_low": "f1_threshold_loss_ci_low",
        "f1_kept_ci_high": "f1_threshold_loss_ci_high",
        "builder_said": "builder_warning_text",
    },
}
"""Version -> its names that later versions changed -> the names in the next version."""

ORDER_IN_VERSION_1 = (
    "run_key", "status", "error", "model", "weights", "model_sha256", "dataset",
    "dataset_fingerprint", "task", "calibrator", "calibrator_params", "calibration_size",
    "calibration_seed", "calibration_preprocess", "input_range", "plan", "placement", "engine",
    "engine_version", "batch_size", "threads", "metric", "fp32", "int8", "delta",
    "published_fp32", "published_note", "ci_low", "ci_high", "n_images", "secondary_metric",
    "secondary_fp32", "secondary_int8", "sqnr_db", "agreement_db", "input_amax",
    "input_true_amax", "int8_latency_p50_ms", "int8_latency_p90_ms", "int8_latency_p99_ms",
    "fp32_latency_p50_ms", "fp32_latency_p90_ms", "fp32_latency_p99_ms",
    "baseline_latency_p50_ms", "baseline_latency_p90_ms", "baseline_latency_p99_ms",
    "latency_rounds", "speedup", "speedup_baseline", "throughput", "int8_mac_share",
    "planned_mac_share", "latency_note", "collect_s", "threshold_s", "build_s", "engine_bytes",
    "peak_memory_mb", "hardware", "environment", "git_commit", "started_at", "run_s",
    "calibration_fingerprint", "scheme", "weight_scales", "statistics_key",
    "calibration_strategy", "calibration_overlap", "builder", "builder_version",
    "compute_capability", "built_engine_bytes", "built_engine_s", "fp32_engine_bytes",
    "fp32_engine_s", "fp16_engine_bytes", "fp16_engine_s", "builder_warnings", "builder_said",
    "builder_error", "overrides", "output_amax_share", "f1_threshold_fp32", "f1_threshold_int8",
    "f1_fp32", "f1_int8", "f1_int8_at_fp32_threshold", "f1_kept_ci_low", "f1_kept_ci_high",
    "schema_version", "calibration_pad", "fp16", "fp16_delta", "fp16_ci_low", "fp16_ci_high",
    "fp16_latency_p50_ms", "fp16_latency_p90_ms", "fp16_latency_p99_ms", "speedup_fp16",
    "engine_options", "int8_layers", "product_layers", "int8_unmet", "calibration_batches",
    "device", "device_latency_p50_ms", "device_latency_p90_ms", "device_latency_p99_ms",
    "fp32_device_latency_p50_ms", "fp16_device_latency_p50_ms", "device_throughput",
    "device_memory_mb", "device_clock_mhz", "device_temperature_c", "baseline_engine",
    "accuracy_by", "agreement_limit_db", "agreement_delta", "kernels_int8", "kernels_delta",
    "kernels_ci_low", "kernels_ci_high", "f1_loss_ci_low", "f1_loss_ci_high",
    "images_per_class", "rounding_sd", "classes_evaluated", "n_classes", "sqnr_boxes_db",
    "sqnr_scores_db",
)  # fmt: skip
"""The columns of version 1 as its ``table.csv`` has them: that file keeps this order."""


def in_table_order(names: list[str]) -> list[str]:
    """The present columns in the order of ``table.csv``: those of version 1 first, then others."""
    first = [_renamed(name, FIRST_VERSION) for name in ORDER_IN_VERSION_1]
    return [*first, *(name for name in names if name not in first)]


def older_names(name: str) -> set[str]:
    """All names of a column in older versions, and its present name."""
    names = {name}
    for version in sorted(RENAMED, reverse=True):
        names |= {old for old, new in RENAMED[version].items() if new in names}
    return names


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values under the present names; ValueError for an unknown version."""
    version = _version(values.get("schema_version", FIRST_VERSION))
    upgraded = {_renamed(name, version): value for name, value in values.items()}
    if version == 1 and "overrides" in values:
        overrides = str(values["overrides"])
        upgraded["dataset_options"] = typed_dataset_options(overrides)
        upgraded["overrides"] = _upgrade_overrides(overrides)
    return upgraded | {"schema_version": SCHEMA_VERSION}


def upgrade_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the present names, each row by its version; ValueError as in ``upgrade``.

    Its versions may be mixed: then a name of one version is empty in rows of another.
    """
    if "schema_version" in table:
        versions = table["schema_version"].fillna(FIRST_VERSION).map(_version)
    else:
        versions = pd.Series(FIRST_VERSION, index=table.index)
    if (versions == SCHEMA_VERSION).all() and "schema_version" in table:
        return table
    parts = [_upgrade_part(part, int(version)) for version, part in table.groupby(versions)]
    if not parts:
        return _upgrade_part(table, SCHEMA_VERSION)
    return parts[0] if len(parts) == 1 else pd.concat(parts).loc[table.index]


def _upgrade_part(table: pd.DataFrame, version: int) -> pd.DataFrame:
    """Rename the rows of one version; drop a name that belongs to another version only."""
    names = {str(name): _renamed(str(name), version) for name in table.columns}
    foreign = [name for name, new in names.items() if name == new and new in _targets(names)]
    table = table.drop(columns=foreign).rename(columns=names).assign(schema_version=SCHEMA_VERSION)
    if version == 1 and "overrides" in table:
        typed = table["overrides"].fillna("")
        table = table.assign(
            dataset_options=typed.map(typed_dataset_options),
            overrides=typed.map(_upgrade_overrides),
        )
    return table


def _upgrade_overrides(overrides: str) -> str:
    """The overrides of version 1 in the present form: ``also_build`` was an engine's option."""
    if "engine.also_build=" not in overrides:
        return overrides
    capability = ("engine.compute_capability=", "also_build.compute_capability=")
    return overrides.replace("engine.also_build=", "also_build=").replace(*capability)


def _targets(names: Mapping[str, str]) -> set[str]:
    return {new for name, new in names.items() if new != name}


def _renamed(name: str, version: int) -> str:
    for step in range(version, SCHEMA_VERSION):
        name = RENAMED[step].get(name, name)
    return name


def _version(value: Any) -> int:
    if value not in range(FIRST_VERSION, SCHEMA_VERSION + 1):
        raise ValueError(f"schema version {value}, not {SCHEMA_VERSION}")
    return int(value)
