"""``engine=tensorrt_rtx`` beside a GPU, on the stand-in of ``tests/fakes``: measured where the GPU
has the compute capability that is built for, built only everywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Bench

pytestmark = pytest.mark.e2e

VERSION = "rtx-1.7.1.116"
RUN = ["model=resnet18", "dataset.validation_images=12", "dataset.calibration_images=4"]


@pytest.fixture
def run(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "out", tmp_path / "cache")


def only_row(run: Bench) -> dict[str, Any]:
    (path,) = run.rows
    row: dict[str, Any] = json.loads(path.read_text())["row"]
    return row


def test_on_a_gpu_of_its_capability_it_is_a_row_like_any_other(
    run: Bench, fake_tensorrt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trt, flags = fake_tensorrt(VERSION), []
    real = trt.Builder.build_serialized_network

    def build(self: Any, network: Any, config: Any) -> Any:
        flags.append(set(config._flags))
        return real(self, network, config)

    monkeypatch.setattr(trt.Builder, "build_serialized_network", build)
    ended = run(*RUN, "engine=tensorrt_rtx", "plan=float_first")
    assert ended.status == 0, ended.err
    assert flags == [set()] * 3  # INT8, FP32 without TF32, FP16: the files say it all
    row = only_row(run)
    assert (row["status"], row["engine"]) == ("ok", "tensorrt_rtx"), row["error"]
    assert row["engine_version"] == "1.7.1.116"
    assert row["device"] == "NVIDIA Test GPU, driver 550.54"
    assert row["builder"] == ""  # nothing was built for another machine
    assert row["int8_mac_share"] == pytest.approx(row["planned_mac_share"])
    assert 0 < row["int8_mac_share"] < 1
    assert row["planned_layers_in_float"] == 0
    for name in ("int8", "fp16", "ci_low", "speedup", "speedup_fp16", "device_latency_p50_ms",
                 "fp16_device_latency_p50_ms", "engine_bytes"):  # fmt: skip
        assert row[name] is not None, name
    assert abs(row["fp16_delta"]) < 0.05


def test_on_another_gpu_it_only_builds(run: Bench, fake_tensorrt: Callable[..., Any]) -> None:
    fake_tensorrt(VERSION, capability="8.6")
    ended = run(*RUN, "engine=tensorrt_rtx")
    assert ended.status == 0, ended.err
    row = only_row(run)
    assert (row["status"], row["compute_capability"], row["int8"]) == ("built", "SM89", None)


def test_beside_another_engine_it_only_builds(
    run: Bench, fake_tensorrt: Callable[..., Any]
) -> None:
    fake_tensorrt(VERSION)
    ended = run(*RUN, "also_build=tensorrt_rtx")
    assert ended.status == 0, ended.err
    row = only_row(run)
    assert (row["status"], row["engine"], row["builder"]) == ("ok", "openvino", "tensorrt_rtx")
    assert row["device"] == ""
