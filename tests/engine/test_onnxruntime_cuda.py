"""ONNX Runtime on CUDA: what is asked of it, and no quiet CPU in its place.

The failures are those of onnxruntime 1.23.2 and onnxruntime-gpu 1.23.2 on a machine without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from bench.engine import onnxrt
from bench.engine.onnxrt import OnnxRuntime
from bench.errors import EngineError

CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})
CPU_SESSION = ort.InferenceSession
NO_DRIVER = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:129 [with ERRTYPE = cudaError; "
    "bool THRW = true] CUDA failure 35: CUDA driver version is insufficient for CUDA runtime "
    "version ; GPU=-1 ; hostname=vm ; line=282 ; expr=cudaSetDevice(info_.device_id); \n\n"
)


class OnGpu(CPU_SESSION):
    """What says that it is on the GPU; it computes on the CPU."""

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """``cuda(open, said="")``: ONNX Runtime with that CUDA provider; gives the sessions asked for.

    ``open(content, options)`` gives its session or raises, ``said`` is what loading libraries
    prints.
    """
    asked: list[dict[str, Any]] = []

    def install(open_it: Callable[..., Any], said: str = "") -> list[dict[str, Any]]:
        def session(content: bytes, options: Any = None, **given: Any) -> Any:
            asked.append(given)
            if given["providers"] == ["CPUExecutionProvider"]:
                return CPU_SESSION(content, options, **given)
            return open_it(content, options, providers=["CPUExecutionProvider"])

        monkeypatch.setattr(ort, "InferenceSession", session)
        available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(ort, "get_available_providers", lambda: available)
        monkeypatch.setattr(ort, "preload_dlls", lambda: print(said, end=""))
        return asked

    onnxrt._start_cuda.cache_clear()
    yield install
    onnxrt._start_cuda.cache_clear()


def refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError(NO_DRIVER)


def test_fp32_is_asked_for_proper_and_without_a_fallback(cuda, build, images):
    asked = cuda(OnGpu)
    proto, x = build("classifier", batch=1), images()
    engine = OnnxRuntime(provider="cuda")
    assert engine.version == f"{ort.__version__} CUDA"
    with engine.build(proto) as session, OnnxRuntime().build(proto) as plain:
        np.testing.assert_array_equal(session.run(x)[0], plain.run(x)[0])
        session.describe()
    providers = [given["providers"] for given in asked]
    # To see it start, once; the session; the CPU's; and the session again, to be looked at.
    assert providers == [[CUDA], [CUDA], ["CPUExecutionProvider"], [CUDA]]
    assert all(given["enable_fallback"] == 0 for given in asked)


def test_the_cpu_is_what_it_was(cuda):
    asked = cuda(refuse)
    assert (OnnxRuntime().version, OnnxRuntime(3).options) == (ort.__version__, "threads=3")
    assert not asked


@pytest.mark.parametrize("ask", [lambda e: e.version, lambda e: e.build(None)])
def test_a_package_without_cuda_is_told(monkeypatch, ask):
    onnxrt._start_cuda.cache_clear()
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match="is installed without its CUDA provider") as told:
        ask(OnnxRuntime(provider="cuda"))
    assert f"onnxruntime-gpu=={ort.__version__}" in str(told.value)
    assert "onnxruntime's own folder" in str(told.value)
    assert "provider=cpu" in str(told.value)


def test_a_cpu_that_quietly_takes_its_place_is_told(cuda, capsys):
    cuda(CPU_SESSION, "Failed to load libcublasLt.so.12: no such file\nFailed to load others\n")
    with pytest.raises(EngineError) as told:
        _ = OnnxRuntime(provider="cuda").version
    line = str(told.value)
    assert "does not start (Failed to load libcublasLt.so.12: no such file)" in line
    assert "onnxruntime-gpu[cuda,cudnn]" in line and "\n" not in line
    assert capsys.readouterr().out == ""


def test_a_missing_driver_is_told_without_the_library_s_own_story(cuda):
    asked = cuda(refuse)
    reason = "does not start (CUDA failure 35: CUDA driver version is insufficient for CUDA runtime"
    for _ in range(2):  # not remembered: a driver may come
        with pytest.raises(EngineError) as told:
            _ = OnnxRuntime(provider="cuda").version
        assert reason in str(told.value)
        assert "cuda_call.cc" not in str(told.value)
    assert len(asked) == 2
