"""The committed record: whole, judged, and a small part of it made again."""

from __future__ import annotations

import json
import shlex

import pandas as pd
import pytest

from bench.claims.claim import load_claims
from bench.results.table import read_table
from tests.e2e.command import ROOT, Bench

RECORD = ROOT / "results" / "reference" / "record"
SWEEPS = sorted(path.name for path in RECORD.iterdir())
LEFT_OUT = ("sweep.", "timing.", "hydra", "engine.threads")
"""Not typed again: none of these changes a result."""


def table(sweep: str) -> pd.DataFrame:
    return read_table(RECORD / sweep)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_row_is_measured_and_every_claim_judged(sweep: str) -> None:
    rows = table(sweep)
    assert (rows["status"] == "ok").all()
    assert ((rows["ci_low"] <= rows["delta"]) & (rows["delta"] <= rows["ci_high"])).all()
    assert rows["run_key"].is_unique
    verdicts = json.loads((RECORD / sweep / "claims.json").read_text())
    assert {verdict["id"] for verdict in verdicts} == {claim.id for claim in load_claims()}
    keys = set(rows["run_key"])
    assert all(set(verdict["rows"]) <= keys for verdict in verdicts)
    groups = [group for verdict in verdicts for group in verdict["groups"]]
    sure = [group for group in groups if group["ci_low"] is not None]
    assert sure
    assert all(own["ci_low"] <= own["effect"] <= own["ci_high"] for own in sure)
    assert all("Scope: " in own["text"] for own in verdicts if own["rows"])


@pytest.mark.parametrize("calibrator", [pytest.param("minmax", marks=pytest.mark.slow), "entropy2"])
def test_a_row_made_again_is_the_recorded_one(calibrator: str, bench: Bench) -> None:
    """Kernels and processors round differently, so a little less than two points are allowed."""
    rows = table("resnet18-shapes")
    (row,) = (
        row
        for _, row in rows.iterrows()
        if f"calibrator={calibrator}" in shlex.split(row["overrides"])
        and (row["plan"], row["calibration_size"], row["calibration_seed"]) == ("all", 8, 1)
    )
    typed = [o for o in shlex.split(row["overrides"]) if not o.startswith(LEFT_OUT)]
    ended = bench(*typed)
    assert ended.status == 0, ended.err
    (again,) = (made for _, made in bench.table.iterrows())
    assert again["model_sha256"] == row["model_sha256"]
    assert again["dataset_fingerprint"] == row["dataset_fingerprint"]
    assert again["n_images"] == row["n_images"]
    assert again["fp32"] == pytest.approx(row["fp32"], abs=0.003)
    assert again["int8"] == pytest.approx(row["int8"], abs=0.018)
    assert again["input_amax"] == pytest.approx(row["input_amax"], rel=1e-3)
