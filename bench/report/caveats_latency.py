"""What a reader must know before trusting latencies: one small rule per caveat."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bench.report.wording import GROUP, SAME_SPEED, measured, opening, plural


def latency_caveats(tidied: pd.DataFrame) -> Iterator[str]:
    """One sentence each, most serious first."""
    for rule in (_latency_notes, _of_one_machine, _unmet, _half_is_as_fast, _machines):
        yield from rule(tidied)


def _latency_notes(rows: pd.DataFrame) -> Iterator[str]:
    noted = rows[rows["latency_note"] != ""]
    for (engine, note), same in noted.groupby(["engine", "latency_note"], sort=False):
        note = str(note).strip().rstrip(".")
        yield f"The latency of {plural(len(same), 'run')} on {engine} is not reliable: {note}."


def _of_one_machine(rows: pd.DataFrame) -> Iterator[str]:
    """Plans that a search chose by latency."""
    noted = rows[rows["plan_note"] != ""]
    for (name, note), _ in noted.groupby(["plan", "plan_note"], sort=False):
        yield (
            f"The plan {name} was chosen by latency: {str(note).rstrip('.')}. On another machine, "
            "search again."
        )


def _unmet(rows: pd.DataFrame) -> Iterator[str]:
    """Layers that an engine ran in float although the plan quantizes them, if there are several."""
    unmet = measured(rows)
    unmet = unmet[(unmet["planned_layers_in_float"] > 0) & (unmet["latency_note"] == "")]
    for name, group in unmet.groupby(list(GROUP), sort=False):
        most = int(group["planned_layers_in_float"].max())
        yield (
            f"{opening(name)} ran up to {plural(most, 'product')} (convolutions and matrix "
            f"products) in float although the plan quantizes them, in "
            f"{plural(len(group), 'run')}. The files under layers/ name them."
        )


def _half_is_as_fast(rows: pd.DataFrame) -> Iterator[str]:
    timed = measured(rows)
    timed = timed[timed["speedup_fp16"].notna()]
    for name, group in timed.groupby(list(GROUP), sort=False):
        slow = group[group["speedup_fp16"] < SAME_SPEED]
        if len(slow):
            options = slow["engine_options"].str
            usual = slow["engine"] == "tensorrt"  # by default, what is not INT8 is FP16
            fair = (
                options.contains("half=True").where(~usual, ~options.contains("half=False")).all()
            )
            then = (
                "FP16 is the simpler choice there"
                if fair
                else ("but what is not INT8 ran in FP32 there. Compare with engine.half=true")
            )
            yield (
                f"{opening(name)} is no faster in INT8 than in FP16 in {len(slow)} of "
                f"{plural(len(group), 'run')}: {then}."
            )


def _machines(rows: pd.DataFrame) -> Iterator[str]:
    timed = measured(rows)
    timed = timed[timed["int8_latency_p50_ms"].notna()]
    for name, group in timed.groupby(list(GROUP), sort=False):
        if (machines := count_machines(group)) > 1:
            yield (
                f"{opening(name)} was timed on {machines} different machines: "
                "compare latencies only between rows of the same hardware and GPU."
            )


def count_machines(group: pd.DataFrame) -> int:
    """The number of machines; another GPU makes another machine, as another processor does."""
    return len(group[["hardware", "device"]].drop_duplicates())
