"""make doctor on TensorRT: the stand-in of ``tests/fakes``, sound and broken."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.doctor import trt
from bench.doctor.check import Finding, Outcome
from bench.engine.trt import tactics
from bench.engine.trt.runtime import TensorRtSession

IMPLICIT = ("TensorRT implicit, cache", "TensorRT implicit, dynamic ranges", "TensorRT calibrator")
CHECKS = {check.name: check for check in trt.CHECKS}


@pytest.fixture
def computing_wrongly(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on every engine, but no calibration, gives its outputs upside down."""

    def spoil() -> None:
        engines = importlib.import_module("tensorrt").IExecutionContext
        real = engines._execute

        def execute(self: Any) -> None:
            real(self)
            network = self._engine._network
            for name in network.outputs:
                size = int(np.prod(self._shapes[name]))
                memory = (ctypes.c_float * size).from_address(self._addresses[name])
                values = np.ctypeslib.as_array(memory)
                values[:] = values[::-1].copy()

        monkeypatch.setattr(engines, "_execute", execute)

    return spoil


def look(name: str) -> Outcome:
    return CHECKS[name].run()


@pytest.mark.parametrize("version", ["8.5.1.7", "10.16.1.11", "11.4.0.106"])
def test_a_sound_tensorrt_passes_in_every_mode_that_it_has(on_gpu, version):
    on_gpu(version)
    builder = look("TensorRT builder")
    assert builder.found == f"TensorRT {version} starts one on NVIDIA Test GPU, driver 550.54"
    fp32, explicit = look("TensorRT FP32"), look("TensorRT explicit")
    assert (fp32.status, explicit.status) == ("pass", "pass")
    assert "0 of 4 layers in INT8" in fp32.found
    assert "4 of 4 layers in INT8" in explicit.found
    for name in IMPLICIT:
        outcome = look(name)
        if version.startswith("11"):
            assert (outcome.status, outcome.mend) == (
                "absent", "Use engine.mode=explicit, or TensorRT 8.5 to 10",
            )  # fmt: skip
        else:
            assert outcome.status == "pass", outcome
            assert "4 of 4 layers in INT8" in outcome.found


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("TensorRT FP32", "TENSORRT=10"),
        ("TensorRT explicit", "TENSORRT=10"),
        *[(name, "engine.mode=explicit") for name in IMPLICIT],
    ],
)
def test_a_wrong_output_is_a_failure_with_its_mend(on_gpu, computing_wrongly, name, fix):
    on_gpu("8.5.1.7")
    computing_wrongly()
    outcome = look(name)
    assert outcome.status == "fail"
    assert "dB against ONNX Runtime" in outcome.found
    assert fix in outcome.mend


def test_8_5_without_cudnn_and_cublas_passes_as_sweeps_do(on_gpu, monkeypatch):
    on_gpu("8.5.1.7")
    monkeypatch.setenv("FAKE_MISSING_LIBRARIES", "libcudnn.so.8 libcublas.so.11")
    monkeypatch.setattr(tactics, "can_load", lambda name: False)
    for name in ("TensorRT FP32", "TensorRT explicit", *IMPLICIT):
        outcome = look(name)
        assert outcome.status == "pass", outcome


def test_a_build_that_is_refused_is_a_failure_with_the_reason(on_gpu, monkeypatch):
    tensorrt = on_gpu("10.16.1.11")

    def refuse(self: Any, network: Any, config: Any) -> None:
        self._log.log(tensorrt.ILogger.ERROR, "10: Could not find any implementation for node")

    monkeypatch.setattr(tensorrt.Builder, "build_serialized_network", refuse)
    outcome = look("TensorRT explicit")
    assert outcome.status == "fail"
    assert "Could not find any implementation for node" in outcome.found
    assert outcome.mend


def test_a_driver_that_the_builder_does_not_like_is_a_failure_with_its_mend(on_gpu):
    on_gpu("10.16.1.11", driver=False)
    outcome = look("TensorRT builder")
    assert outcome.status == "fail"
    assert "cannot start a builder (CUDA initialization failure" in outcome.found
    assert "a driver for its CUDA version" in outcome.found


@pytest.mark.parametrize("faster", [True, False])
def test_int8_is_timed_against_fp32(on_gpu, monkeypatch, faster):
    on_gpu("11.4.0.106")
    medians = iter([0.4, 0.1] if faster else [0.1, 0.4])
    monkeypatch.setattr(TensorRtSession, "device_ms", lambda self: [next(medians)])
    outcome = look("INT8 on this GPU")
    assert outcome.status == ("pass" if faster else "absent")
    expected = "FP32 0.400 ms, INT8 0.100 ms, 4.0x" if faster else "INT8 0.400 ms, 0.2x"
    assert expected in outcome.found
    assert bool(outcome.mend) == (not faster)


def test_all_is_absent_without_tensorrt_or_a_gpu(fake_tensorrt, monkeypatch):
    with monkeypatch.context() as changed:
        changed.setattr(importlib.util, "find_spec", lambda name: None)
        outcomes = [check.run() for check in trt.CHECKS]
    assert {(o.status, o.mend) for o in outcomes} == {("absent", "See TensorRT above")}
    fake_tensorrt("10.16.1.11")
    monkeypatch.setattr(trt, "look_at_cuda", lambda: Finding("absent", "no libcuda.so.1", "x"))
    outcomes = [check.run() for check in trt.CHECKS]
    assert {(o.status, o.mend) for o in outcomes} == {("absent", "See CUDA above")}
