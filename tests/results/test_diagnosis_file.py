"""A diagnosis comes back from its file as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.results.diagnosis import (
    BlockDiagnosis,
    Diagnosis,
    Effect,
    LayerDiagnosis,
    RuleError,
    TensorDiagnosis,
)
from bench.results.diagnosis_file import diagnosis_from_bytes, diagnosis_to_bytes
from bench.sealed import DamagedError

PATH = Path("minmax.json")
EFFECT = {"calibration": Effect({"boxes": None, "scores": 12.5}, 0.25, 0.5)}
WHOLE = Diagnosis(
    setting={"model": "tiny"},
    seconds=1.5,
    all_int8=EFFECT,
    layers=(
        LayerDiagnosis(
            "a", "Conv", 10, 0.5, True, "b", ("x",), EFFECT, EFFECT, EFFECT, EFFECT, None, 0.1
        ),
    ),
    blocks=(BlockDiagnosis("b", ("a",), 0.5, EFFECT),),
    tensors=(
        TensorDiagnosis(
            "x", "", -1.0, 2.0, 1.5, {"mse": RuleError(1.5, 0.1, 0.2)}, None, 0.1, 0.2, 1, 3, 0,
            (1, 2), -1.0, 2.0, ((0.5, 0.25), (1.0, 1.0)),
        ),
    ),
    first_jump=None,
    worst=("a",),
    advice=("Do.",),
    lists={"NNCF": "x"},
)  # fmt: skip


def test_it_comes_back():
    content = diagnosis_to_bytes(WHOLE)
    assert diagnosis_from_bytes(content, PATH) == WHOLE


def test_no_infinity_is_written():
    with pytest.raises(ValueError, match="JSON"):
        diagnosis_to_bytes(replace(WHOLE, seconds=float("inf")))


@pytest.mark.parametrize("change", [lambda c: c.replace(b"tiny", b"TINY"), lambda c: b"{}"])
def test_what_is_damaged_is_refused(change):
    with pytest.raises(DamagedError):
        diagnosis_from_bytes(change(diagnosis_to_bytes(WHOLE)), PATH)
