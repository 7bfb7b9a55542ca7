"""The row: one schema, told as data, and a key that changes with anything."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from bench.results.column import Column, Role
from bench.results.history import SCHEMA_VERSION
from bench.results.row import COLUMNS, Row, columns_with, run_key

PROMISED = [
    "model", "dataset", "calibrator", "calibrator_params", "calibration_size",
    "calibration_seed", "plan", "placement", "engine", "engine_version", "metric", "fp32",
    "int8", "delta", "ci_low", "ci_high", "n_images", "int8_latency_p50_ms",
    "fp32_latency_p50_ms", "baseline_latency_p50_ms", "speedup", "int8_mac_share", "sqnr_db",
    "collect_s", "threshold_s", "build_s", "qdq_bytes", "peak_memory_mb", "status", "error",
    "run_key",
]  # fmt: skip


@pytest.mark.parametrize("measured", [True, False])
def test_round_trip_through_json(full_row, measured):
    row = full_row(measured=measured)
    assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_the_columns_promised_to_users_are_there():
    assert set(PROMISED) <= set(COLUMNS)


def test_every_column_says_what_it_means():
    assert set(COLUMNS) == {field.name for field in dataclasses.fields(Row)}
    for name, column in COLUMNS.items():
        assert isinstance(column, Column)
        assert column.description, name
        assert column.better in ("higher", "lower", None)
    assert COLUMNS["int8"].better == "higher"
    latency = COLUMNS["int8_latency_p50_ms"]
    assert (latency.description, latency.unit, latency.better) == ("INT8, median", "ms", "lower")


def test_roles_and_words_of_columns():
    assert {"calibrator", "placement", "engine_options"} <= set(columns_with("axis"))
    assert columns_with("group") == ("model", "dataset", "engine", "measured_on")
    assert columns_with("key") == ("calibrator", "calibration_size", "plan")
    assert not set(columns_with("axis")) & set(columns_with("condition"))
    for role in get_args(Role):
        assert columns_with(role), role
    for column in COLUMNS.values():
        assert column.roles <= set(get_args(Role))
        assert column.label == "" or column.label.count("{}") == 1
    labelled = {name for name, column in COLUMNS.items() if column.label or column.ordinary}
    assert labelled <= set(columns_with("axis"))
    assert (COLUMNS["calibration_size"].kind, COLUMNS["delta"].kind) == ("whole", "number")
    assert COLUMNS["status"].kind == "text" and COLUMNS["status"].required


def test_the_columns_that_the_documentation_explains_are_there():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "read-results.md").read_text()
    section = page.partition("## Accuracy")[2].partition("\n## More views")[0]
    names = re.findall(r"`([a-z0-9]+_[a-z0-9_]*\*?)`", section)
    assert len(names) > 20
    for name in names:
        assert fnmatch.filter(COLUMNS, name), name


def test_a_row_is_immutable(full_row):
    with pytest.raises(dataclasses.FrozenInstanceError):
        full_row().int8 = 1.0


def test_values_of_another_schema(full_row):
    values = full_row().to_json()
    with pytest.raises(TypeError, match="colour"):
        Row.from_json(values | {"colour": "red"})
    with pytest.raises(TypeError, match="run_key"):
        Row.from_json({k: v for k, v in values.items() if k != "run_key"})
    with pytest.raises(ValueError, match=f"schema version {SCHEMA_VERSION + 1}"):
        Row.from_json(values | {"schema_version": SCHEMA_VERSION + 1})


def test_run_key_changes_with_anything():
    plain = {"model": "a", "size": 8, "plan": ("first", "head"), "path": Path("x"), "seed": None}
    others = [
        plain | {"model": "b"},
        plain | {"size": 9},
        plain | {"size": "8"},
        plain | {"plan": ("head", "first")},
        plain | {"path": Path("y")},
        plain | {"seed": 0},
        plain | {"more": 1},
        {k: v for k, v in plain.items() if k != "seed"},
    ]
    keys = {run_key(**everything) for everything in (plain, *others)}
    assert len(keys) == 1 + len(others)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_run_key_does_not_depend_on_the_order_of_names():
    assert run_key(a=1, b=2) == run_key(b=2, a=1)


def test_run_key_is_the_same_on_every_machine_and_in_every_schema():
    assert run_key(a=1, b=("x", 2.5)) == "42bbc30c5b8b83dc"


def test_no_column_belongs_to_two_parts() -> None:
    parts = [part for part in Row.__bases__ if part is not object]
    names = [field.name for part in parts for field in dataclasses.fields(part)]
    assert sorted(names) == sorted(COLUMNS)
