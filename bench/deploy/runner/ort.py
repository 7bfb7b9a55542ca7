"""The same on a CPU, in ONNX Runtime: every step of a kit can be tried without a GPU."""

from __future__ import annotations

import importlib
import time
from typing import Any

from bench.deploy.runner.ground import KitError, NotHereError, one_line, rounded


def load_onnxruntime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise NotHereError(
            f"ONNX Runtime is not here ({one_line(error)}). Run: pip install onnxruntime"
        ) from error


class OrtSession:
    """A model on the CPU; ``exact`` computes Q/DQ in float, as the file is written.

    Its fused INT8 kernels saturate on processors without VNNI.
    """

    def __init__(
        self, ort: Any, model: bytes, outputs: list[str], exact: bool, threads: int
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        if exact:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no other base
            raise KitError(f"ONNX Runtime cannot run the model ({one_line(error)})") from error
        self._outputs, self._input = outputs, self._session.get_inputs()[0].name

    def run(self, batch: Any) -> list[Any]:
        return list(self._session.run(self._outputs, {self._input: batch}))

    def latencies(self, batch: Any, seconds: float) -> dict[str, Any]:
        """Milliseconds by the host's clock, after one call to warm up."""
        self.run(batch)
        times: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(times) < 3:
            start = time.perf_counter()
            self.run(batch)
            times.append(1000 * (time.perf_counter() - start))
        return {"clock": "host", "host_ms": rounded(times)}
