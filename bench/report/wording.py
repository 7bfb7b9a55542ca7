"""How reports name a row, a number and a column: one place for page, Markdown and terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from numbers import Real

import pandas as pd

from bench.claims.judgements import records_of
from bench.results.options import read_options
from bench.results.row import COLUMNS, columns_with

GROUP = columns_with("group")
"""Only rows of one group are compared with each other."""

LABELLED = tuple(
    sorted(
        (name for name in columns_with("axis") if COLUMNS[name].label),
        key=lambda name: COLUMNS[name].label_order,
    )
)
"""Axes that are part of a configuration's name when they vary, beside calibrator, size, plan."""

SAME_SPEED = 1.05
"""Medians of the same model timed twice differ by about this; a smaller gap decides nothing."""

SERIALIZED = "serialized engine"
"""What ``accuracy_by`` says of an engine that somebody else built: no command of a row loads it."""

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"

TIMED = ("int8", "fp32", "fp16", "baseline")


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """The table with fixed types, whether read from a CSV file or from rows, and with two names.

    ``calibrator_label`` is the calibrator with its parameters where the table has several (a
    percentile always has its value). ``plan_label`` is the plan with every other swept axis. So two
    rows of a group differ in one of these labels, in size or in seed.
    """
    table = table.reset_index(drop=True)
    tidied = pd.DataFrame({name: _settled(name, table[name]) for name in COLUMNS})
    variants = tidied.groupby("calibrator")["calibrator_params"].transform("nunique")
    named = (variants > 1) | (tidied["calibrator"] == "percentile")
    params = tidied["calibrator_params"].where(named, "")
    pairs = zip(tidied["calibrator"], params, strict=True)
    tidied["calibrator_label"] = [
        calibrator_label(calibrator, params) for calibrator, params in pairs
    ]
    tidied = _drift_free(tidied)
    further = [name for name in LABELLED if tidied[name].nunique() > 1]
    image_names = _calibration_images(tidied)
    tidied["plan_label"] = [
        ", ".join(
            [
                str(row["plan"]),
                *(
                    COLUMNS[name].label.format(text)
                    for name in further
                    if (text := image_names.get(plain(row[name]), plain(row[name])))
                    not in ("", COLUMNS[name].ordinary)
                ),
            ]
        )
        for row in records_of(tidied[["plan", *further]])
    ]
    return tidied


def _calibration_images(tidied: pd.DataFrame) -> dict[str, str]:
    """Fingerprint -> name of these calibration images: the options of their dataset ("" where none
    is set), and a number where that is not unique."""
    firsts = tidied.drop_duplicates("calibration_fingerprint")
    options = {
        str(row["calibration_fingerprint"]): read_options(str(row["dataset_options"]))
        for row in records_of(firsts[["calibration_fingerprint", "dataset_options"]])
    }
    keys = dict.fromkeys(key for values in options.values() for key in values)
    varied = [key for key in keys if len({values.get(key) for values in options.values()}) > 1]
    names = {
        fingerprint: ", ".join(f"{key}={values[key]}" for key in varied if key in values)
        for fingerprint, values in options.items()
    }
    count = Counter(names.values())
    return {
        fingerprint: name if count[name] == 1 else f"{name} set {number}".strip()
        for number, (fingerprint, name) in enumerate(names.items(), start=1)
    }


def _settled(name: str, values: pd.Series) -> pd.Series:
    if COLUMNS[name].kind == "text":
        return values.fillna("").astype(str)
    return pd.to_numeric(values, errors="coerce")


def group_title(rows: pd.DataFrame) -> str:
    """The title of one group's rows: its names, and its metric."""
    first = rows.iloc[0]
    suffix = "engines built, not run" if (rows["status"] == "built").any() else first["metric"]
    return f"{group_name(first[list(GROUP)])}: {suffix}".rstrip(": ")


def group_name(values: Iterable[object]) -> str:
    """A group in words, from the values of ``GROUP``.

    >>> group_name(["yolov8n", "coco", "openvino", ""])
    'yolov8n on coco, openvino'
    >>> group_name(["yolov8n", "coco", "tensorrt", "orin"])
    'yolov8n on coco, tensorrt on orin'
    """
    model, dataset, engine, target = (str(value) for value in values)
    return f"{model} on {dataset}, {engine_name(engine, target)}"


def opening(group: object) -> str:
    """How a sentence about a group of pandas begins: its name and a comma."""
    return f"{group_name(group if isinstance(group, tuple) else [''] * len(GROUP))},"


def engine_name(engine: str, target: str) -> str:
    """An engine, and the target on which a kit ran it."""
    return f"{engine} on {target}" if target else engine


def measured(tidied: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an accuracy."""
    numbers = tidied[["fp32", "int8", "delta"]].notna().all(axis=1)
    ok: pd.DataFrame = tidied[(tidied["status"] == "ok") & numbers]
    return ok


def _drift_free(tidied: pd.DataFrame) -> pd.DataFrame:
    """Add ``int8_ms``, ``fp32_ms``, ``fp16_ms`` and ``baseline_ms``: latency per image, comparable
    between runs; and ``int8_speedup``, ``timed_runs``.

    Within a run they were timed in turn, but the machine's speed drifts from run to run. So
    each run's latencies are scaled to the median FP32 latency of its group on the same engine.
    Runs of one graph have one ``int8_ms`` and one ``int8_speedup``, the medians of all of them;
    ``timed_runs`` is how many there are. A file with a plan inside is a graph by itself, which its
    hash in ``calibrator_params`` names.
    """
    timed = tidied.assign(
        **{f"{name}_ms": tidied[f"{name}_latency_p50_ms"] / tidied["batch_size"] for name in TIMED}
    )
    typical = timed.groupby(list(GROUP))["fp32_ms"].transform("median")
    drift = (typical / timed["fp32_ms"]).fillna(1.0)
    scaled = timed.assign(**{f"{name}_ms": timed[f"{name}_ms"] * drift for name in TIMED})
    file = scaled["calibrator_params"].where(scaled["plan"] == "file", "")
    keys = [scaled[name] for name in (*GROUP, *columns_with("graph"))]
    graphs = scaled.groupby([*keys, file], dropna=False)
    return scaled.assign(
        int8_ms=graphs["int8_ms"].transform("median"),
        int8_speedup=graphs["speedup"].transform("median"),
        timed_runs=graphs["int8_ms"].transform("count"),
    )


def calibrator_label(calibrator: str, params: str) -> str:
    """The calibrator's name, with the parameters that make it another one.

    >>> calibrator_label("percentile", "percentile=99.99"), calibrator_label("mse", "")
    ('percentile 99.99', 'mse')
    """
    return f"{calibrator} {params.removeprefix(calibrator + '=')}".strip()


def calibrator_order(label: str) -> tuple[str, float, str]:
    """Sort key: by name, then by the number in the parameters (99.9 before 99.99)."""
    name, _, params = label.partition(" ")
    try:
        return name, float(params), params
    except ValueError:
        return name, -math.inf, params


def plain(value: object) -> str:
    """A value as its shortest text: a CSV column with a gap turns whole numbers into floats."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return str(value)


def known(value: object) -> float | None:
    """A cell as a number, None where nothing was measured."""
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign; minus is the character U+2212."""
    if value is None:
        return MISSING
    text = f"{value:+.{digits}f}"
    return text.replace("-", MINUS) if float(text) else f"{0:.{digits}f}"


def interval(low: float | None, high: float | None, missing: str = "unknown") -> str:
    """A 95 % interval in words."""
    return missing if low is None or high is None else f"{signed(low)} to {signed(high)}"


def plural(count: int, noun: str, several: str = "") -> str:
    """
    >>> plural(1, "row"), plural(2, "row"), plural(2, "class", "classes")
    ('1 row', '2 rows', '2 classes')
    """
    return f"{count:,} " + (noun if count == 1 else several or f"{noun}s")


def cell(name: str, value: object) -> str:
    """One value of column ``name`` as text, rounded to the digits that matter."""
    column, number = COLUMNS[name], known(value)
    if column.kind == "text":
        return str(value)
    if number is None:
        return MISSING
    if column.format == "difference":
        return signed(number, 4)
    if column.format == "share":
        return f"{100 * number:.1f} %"
    if column.kind == "whole" or (number == int(number) and not column.better):
        return f"{number:,.0f}" if column.unit == "B" else f"{number:.0f}"
    match column.unit:
        case "":
            return f"{number:.4f}"
        case "B" | "MB":
            return f"{number:,.0f}"
        case "1/s" | "dB":
            return f"{number:.1f}"
    return f"{number:.2f}"


def heading(name: str) -> str:
    """The head of a column in a table, with its unit."""
    unit, words = COLUMNS[name].unit, COLUMNS[name].heading
    return f"{words} ({unit})" if unit and unit not in words.split() else words
