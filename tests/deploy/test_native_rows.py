"""A bundle of a row whose ranges are of TensorRT's own calibrator; on the stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from bench.calibration.trt_cache import from_json
from bench.deploy import figure
from bench.results.store import RowStore
from tests.e2e.command import Bench

pytestmark = pytest.mark.e2e

NATIVE = [
    "model=resnet18", "dataset.validation_images=16", "dataset.calibration_images=8",
    "calibration.size=4", "calibrator=tensorrt_legacy", "calibrator.batch_size=2",
    "engine=tensorrt", "engine.mode=implicit", "placement=implicit",
]  # fmt: skip


@pytest.mark.slow
def test_its_figure_is_measured_with_the_row_s_own_algorithm(
    fake_tensorrt: Callable[..., Any], deploy: Callable[..., Any], tmp_path: Path
) -> None:
    trt = fake_tensorrt("8.5.1.7")
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    ended = bench(*NATIVE)
    assert ended.status == 0, ended.err
    (row,) = RowStore(bench.out).rows()
    said = deploy(bench.out, "--run", row.run_key, "--to", tmp_path / "bundle")
    assert said.status == 0, said.err

    kept = from_json((bench.out / "ranges" / f"{row.run_key}.json").read_bytes(), "")
    assert json.loads((tmp_path / "bundle" / "dynamic_ranges.json").read_text()) == {
        name: [-amax, amax] for name, amax in kept.items()
    }
    proto = onnx.load(tmp_path / "bundle" / "model.qdq.onnx")
    quantized = {node.input[0] for node in proto.graph.node if node.op_type == "QuantizeLinear"}
    assert quantized <= set(kept) and len(quantized) > 10
    assert proto.ByteSize() == row.qdq_bytes

    asked = []
    real = trt.IInt8LegacyCalibrator.__init__

    def note(self: Any) -> None:
        asked.append("legacy")
        real(self)

    trt.IInt8LegacyCalibrator.__init__ = note
    for engine in (tmp_path / "cache").rglob("*.engine"):
        engine.unlink()
    line, confirmed = figure.measure_figure(tmp_path / "bundle", [])
    assert confirmed and f"{row.int8!r}, FP32 {row.fp32!r}; the row's: {row.int8!r}" in line
    assert asked == ["legacy"]
