"""make doctor's comparison of native and own thresholds, on the stand-in of ``tests/fakes``."""

from __future__ import annotations

import ctypes
import importlib
import json
import math
from typing import Any

import numpy as np
import pytest

from bench.doctor import native_ranges
from bench.doctor.__main__ import to_json
from bench.doctor.check import Outcome
from bench.engine.trt import engine
from bench.engine.trt.native_calibration import calibrate_network
from bench.model.onnx_model import load_model
from bench.model.zoo import CARRIED

CHECKS = {check.name: check for check in native_ranges.CHECKS}


def look(name: str) -> Outcome:
    return CHECKS[name].run()


def test_both_rules_are_compared_on_every_embedded_model():
    embedded = {path.name.partition("_")[0] for path in CARRIED.glob("*.onnx")}
    rules = ("MinMax", "Entropy-v2")
    assert set(CHECKS) == {f"{rule}, {model}" for rule in rules for model in embedded}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "yolov8n" else ())
        for name in native_ranges.MODELS
    ],
)
def test_a_native_minmax_agrees_with_ours(on_gpu, model):
    on_gpu("8.5.1.7")
    outcome = look(f"MinMax, {model}")
    assert outcome.status == "pass", outcome
    assert "median 1.0000, largest deviation 1.0000 (" in outcome.found


def test_the_clipped_input_of_the_embedded_yolov8n_is_told_native_and_own(on_gpu):
    """The stand-in's "entropy" is 0.9 of the maximum, whatever the data: found, but no failure."""
    on_gpu("8.5.1.7")
    outcome = look("Entropy-v2, yolov8n")
    assert outcome.status == "pass", outcome
    assert "input 0.9000 / 0.4475 of 1.0000" in outcome.found
    (checked,) = json.loads(to_json([outcome]))["checks"]
    tensors = checked["figures"]["tensors"]
    network = load_model(CARRIED / "yolov8n_shapes.onnx")
    own = tensors[network.input_name]
    assert own["own"] / own["range"] * native_ranges.BINS == 916.5
    assert all(t["largest"] <= t["range"] < 2 * t["largest"] for t in tensors.values())
    assert any(t["largest"] < t["range"] for t in tensors.values())  # a second batch made it longer
    assert all(t["native"] == pytest.approx(0.9 * t["largest"], rel=1e-6) for t in tensors.values())
    assert (checked["figures"]["images"], checked["figures"]["batch_size"]) == (16, 8)
    ratios = {name: t["native"] / t["own"] for name, t in tensors.items()}
    farthest = max(ratios, key=lambda name: abs(math.log(ratios[name])))
    assert f"of {len(tensors)} tensors" in outcome.found
    assert f"largest deviation {ratios[farthest]:.4f} ({farthest})" in outcome.found


@pytest.fixture
def calibrating_here(monkeypatch):
    """TensorRT calibrates in this process, where a test can spoil it."""

    def here(*given: Any) -> Any:
        return calibrate_network(importlib.import_module("tensorrt"), *given)

    monkeypatch.setattr(engine, "calibrate_apart", here)


def test_a_minmax_of_other_data_is_a_failure_and_sends_its_figures(
    on_gpu, monkeypatch, calibrating_here
):
    on_gpu("8.5.1.7")
    emulation = importlib.import_module("tensorrt.emulation")
    real = emulation._ask

    def ask(*arguments: Any) -> Any:
        pointers = real(*arguments)
        if pointers is not None:
            size = native_ranges.BATCH * 3 * 64 * 64
            np.ctypeslib.as_array((ctypes.c_float * size).from_address(pointers[0]))[:] *= 0.5
        return pointers

    monkeypatch.setattr(emulation, "_ask", ask)
    outcome = look("MinMax, resnet18")
    assert outcome.status == "fail"
    assert "input 1.0000 / 2.0000 of 2.0000" in outcome.found
    assert "other data" in outcome.mend and "--json" in outcome.mend
    assert len(outcome.figures["tensors"]) > 20


def test_an_input_without_a_native_threshold_is_a_failure(on_gpu, monkeypatch, calibrating_here):
    on_gpu("8.5.1.7")
    emulation = importlib.import_module("tensorrt.emulation")
    real = emulation.calibrate

    def calibrate(network: Any, calibrator: Any, *others: Any) -> Any:
        write = calibrator.write_calibration_cache

        def without_input(cache: Any) -> None:
            lines = bytes(cache).decode().splitlines(keepends=True)
            write("".join(o for o in lines if not o.startswith(network.input + ": ")).encode())

        calibrator.write_calibration_cache = without_input
        return real(network, calibrator, *others)

    monkeypatch.setattr(importlib.import_module("tensorrt"), "calibrate", calibrate)
    outcome = look("MinMax, resnet18")
    assert (outcome.status, bool(outcome.mend)) == ("fail", True)
    assert "no native threshold of the input" in outcome.found
