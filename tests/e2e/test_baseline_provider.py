"""``baseline.provider``: where ONNX Runtime runs the FP32 file, in key, row and cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from bench.engine import onnxrt
from bench.engine.onnxrt import OnnxRuntime
from bench.run.faithfulness import NUDGES
from tests.e2e.command import CUSTOM, Bench

pytestmark = pytest.mark.e2e


def test_a_baseline_on_cuda_is_another_run_and_says_so(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[str, bool]] = []
    real = OnnxRuntime._open

    def open_(self: OnnxRuntime, model: Any, options: Any) -> Any:
        quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        built.append((self.provider, quantized))
        return real(self, model, options)

    monkeypatch.setattr(OnnxRuntime, "_open", open_)
    monkeypatch.setattr(onnxrt, "_start_cuda", lambda: None)
    monkeypatch.setitem(onnxrt._PROVIDERS, "cuda", ["CPUExecutionProvider"])
    bench = Bench(tmp_path / "out", tmp_path / "cache", files)
    ended = bench("--multirun", *CUSTOM, "baseline.provider=cpu,cuda")
    assert ended.status == 0, ended.err
    rows = [json.loads(path.read_text())["row"] for path in bench.rows]
    version = ort.__version__
    told = [f"onnxruntime {version}", f"onnxruntime {version} CUDA"]
    assert sorted(row["baseline_engine"] for row in rows) == told
    assert len(list(bench.cache.glob("fp32-*.npz"))) == 2
    # The file in FP32 once, for accuracy and latency; Q/DQ for the agreement, as it is and nudged,
    # always on the CPU.
    compared = [("cpu", True)] * (1 + NUDGES)
    assert sorted(built) == [("cpu", False), *compared, *compared, ("cuda", False)]


def test_a_baseline_that_cannot_start_is_told_before_anything_is_computed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    ended = bench(*CUSTOM, "baseline.provider=cuda")
    assert ended.status == 2
    assert "is installed without its CUDA provider. pip install" in ended.one_line
    assert bench.left_nothing
