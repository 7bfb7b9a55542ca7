"""``engine=tensorrt`` from the command line, on the stand-in of ``tests/fakes``: whole rows, and
refusals in one line before anything is computed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.engine.base import DeviceTimes
from bench.engine.trt.engine import TensorRt
from bench.engine.trt.runtime import TensorRtSession
from bench.errors import EngineError
from bench.results.row import COLUMNS
from tests.e2e.command import Bench
from tests.e2e.tensorrt_words import FEW, IMPLICIT, NATIVE, NATIVELY, SMALL, rows

pytestmark = pytest.mark.e2e


def test_explicit_yields_a_full_row(run: Bench, fake_tensorrt: Callable[..., Any]) -> None:
    fake_tensorrt("10.16.1.11")
    ended = run(*FEW, "engine=tensorrt")
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert (row["status"], row["engine"], row["engine_version"]) == ("ok", "tensorrt", "10.16.1.11")
    empty = {name for name in COLUMNS if row[name] is None}
    assert empty == {
        "published_fp32", "calibration_overlap", "calibration_batches",
        "predicted_int8", "engine_fp32",  # of targets
        "raced_ahead",  # of races
        "kernels_int8", "kernels_delta", "kernels_ci_low", "kernels_ci_high",  # the row's
        "output_amax_share",  # of placement=implicit
        "f1_threshold_fp32", "f1_threshold_int8", "f1_fp32", "f1_int8",  # of detection
        "f1_int8_at_fp32_threshold", "f1_threshold_loss_ci_low", "f1_threshold_loss_ci_high",
        "f1_loss_ci_low", "f1_loss_ci_high", "images_per_class", "sqnr_boxes_db",
        "sqnr_scores_db",
        "rounding_sd",  # of what a sweep recommends
        *(f"{kind}_latency_p{p}_ms" for kind in ("int8", "fp32", "fp16", "baseline")
          for p in (90, 99)),  # of so few rounds
        "fp32_engine_bytes", "fp32_engine_s",  # of builders
        "fp16_engine_bytes", "fp16_engine_s",
        "builder_warnings",
    }  # fmt: skip
    assert row["device"] == "NVIDIA Test GPU, driver 550.54"
    assert row["int8_mac_share"] == pytest.approx(row["planned_mac_share"])
    assert row["fp16"] - row["fp32"] == pytest.approx(row["fp16_delta"])
    assert row["fp16_ci_low"] <= row["fp16_delta"] <= row["fp16_ci_high"]
    int8_ms = row["device_latency_p50_ms"]  # transfers apart
    assert row["speedup"] == pytest.approx(row["fp32_device_latency_p50_ms"] / int8_ms)
    assert row["speedup_fp16"] == pytest.approx(row["fp16_device_latency_p50_ms"] / int8_ms)
    assert row["speedup_baseline"] == pytest.approx(
        row["baseline_latency_p50_ms"] / row["int8_latency_p50_ms"]
    )
    assert row["missing_scales"] == 0
    layers = json.loads((run.out / "layers" / f"{row['run_key']}.json").read_text())
    assert row["planned_layers_in_float"] == 0
    assert row["int8_layers"] == sum(layer["ran_int8"] for layer in layers.values()) > 0


@pytest.mark.parametrize(
    ("version", "asked", "why"),
    [
        (
            "10.16.1.11",
            ["engine=tensorrt"],
            "further from those of the file than rounding explains",
        ),
        ("8.5.1.7", NATIVELY + [NATIVE], "further from FP32 than those of the file"),
    ],
    ids=["explicit", "implicit"],
)
def test_an_engine_that_computes_something_else_is_unfaithful(
    run: Bench,
    fake_tensorrt: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    asked: list[str],
    why: str,
) -> None:
    """Whatever a GPU may get wrong: here the logits of every network are off."""
    fake_tensorrt(version)
    network = sys.modules["tensorrt.emulation"].Network
    real = network.run

    def wrong(self: Any, images: Any) -> Any:
        outputs = real(self, images)
        shift = np.random.default_rng(0).normal(0, 5, 10).astype(np.float32)
        logits = {name: own for name, own in outputs.items() if own.shape[1:] == (10,)}
        return outputs | {name: own + shift for name, own in logits.items()}

    monkeypatch.setattr(network, "run", wrong)
    ended = run(*FEW, *asked)
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert (row["status"], row["accuracy_by"]) == ("unfaithful", "int8 kernels")
    assert why in row["error"]
    assert "layers/KEY.json says which layers ran in INT8" in row["error"]


def test_fp16_that_is_refused_costs_no_row(
    run: Bench, fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt("8.5.1.7")

    def refuse(*asked: object, **settings: object) -> bytes:
        raise EngineError("no FP16 here")

    monkeypatch.setattr("bench.engine.trt.engine.build_half", refuse)
    ended = run(*SMALL, "engine=tensorrt")
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert row["status"] == "ok"
    assert {row[name] for name in COLUMNS if "fp16" in name} == {None}


def test_nor_does_fp16_that_is_built_and_does_not_run(
    run: Bench, fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the GPU has no room for a third engine's buffers."""
    fake_tensorrt("8.5.1.7")
    real = TensorRt.build_fp16

    def build(self: TensorRt, model: Any) -> Any:
        session = real(self, model)
        monkeypatch.setattr(session, "run", refuse)
        return session

    def refuse(batch: object) -> object:
        raise EngineError("CUDA fails (cudaErrorMemoryAllocation)")

    monkeypatch.setattr(TensorRt, "build_fp16", build)
    ended = run(*SMALL, "engine=tensorrt")
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert (row["status"], row["error"]) == ("ok", "")
    assert {row[name] for name in COLUMNS if "fp16" in name} == {None}


@pytest.mark.parametrize(
    ("enqueue_ms", "graph", "told"),
    [
        (0.79, True, ""),
        (0.81, True, "of its time to launch: a larger evaluation.batch_size may help"),
        (0.81, False, "of its time to launch: engine.cuda_graphs=true may help"),
    ],
)
def test_a_gpu_that_waits_for_the_host_is_told_of(
    run: Bench,
    fake_tensorrt: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    enqueue_ms: float,
    graph: bool,
    told: str,
) -> None:
    fake_tensorrt("10.16.1.11")
    times = DeviceTimes(1.0, 1.1, 1.2, enqueue_ms, 0.3, 0.1, graph, 900.0, 1410, 54)
    monkeypatch.setattr(TensorRtSession, "device_times", lambda self: times)
    ended = run(*SMALL, "engine=tensorrt")
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert told in row["latency_note"] and bool(row["latency_note"]) == bool(told)
    assert row["speedup"] == row["speedup_fp16"] == 1.0
    assert row["device_launch"] == ("CUDA graph" if graph else "kernels")
    measured = [row[f"device_{name}_p50_ms"] for name in ("enqueue", "upload", "download")]
    assert measured == [enqueue_ms, 0.3, 0.1]


def test_a_layer_that_the_builder_runs_in_float_is_told_of(
    run: Bench, fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = fake_tensorrt("8.5.1.7")
    real = trt.EngineInspector.get_engine_information

    def without_one(self: Any, format: Any) -> str:
        told = json.loads(real(self, format))
        told["Layers"] = told["Layers"][2:]  # the first, and a change of format before it
        return json.dumps(told)

    monkeypatch.setattr(trt.EngineInspector, "get_engine_information", without_one)
    ended = run(*FEW, "engine=tensorrt")
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert row["planned_layers_in_float"] == 1
    layers = json.loads((run.out / "layers" / f"{row['run_key']}.json").read_text())
    (lost,) = [one for one in layers.values() if one["planned_int8"] and not one["ran_int8"]]
    assert lost["op"] == "Conv" and lost["macs"] > 0
    assert row["int8_mac_share"] < row["planned_mac_share"]


def test_an_engine_that_does_not_tell_its_layers_is_no_claim(
    run: Bench, fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = fake_tensorrt("8.5.1.7")
    monkeypatch.setattr(trt.EngineInspector, "get_engine_information", lambda self, format: "{}")
    ended = run(*SMALL, "engine=tensorrt")
    assert ended.status == 0, ended.err
    (row,) = rows(run)
    assert row["status"] == "ok" and row["int8"] is not None
    assert (row["int8_mac_share"], row["int8_layers"], row["planned_layers_in_float"]) == (
        None,
        None,
        None,
    )
    assert row["latency_note"] == "tensorrt does not report which layers ran in INT8"
    assert not (run.out / "layers").exists()


def test_without_a_driver_a_sweep_ends_in_one_line(
    bench: Bench, fake_tensorrt: Callable[..., Any]
) -> None:
    fake_tensorrt("8.5.1.7", driver=False)
    ended = bench(*FEW, "engine=tensorrt")
    assert ended.status == 2
    assert "engine tensorrt: there is no NVIDIA driver" in ended.one_line
    assert bench.left_nothing


def test_eleven_refuses_implicit_in_one_line(
    bench: Bench, fake_tensorrt: Callable[..., Any]
) -> None:
    fake_tensorrt("11.4.0.106")
    ended = bench(*FEW, *IMPLICIT)
    assert ended.status == 2
    assert "TensorRT 11.4.0.106 has no implicit quantization" in ended.one_line
