"""What can be checked of the real TensorRT without a GPU: ``make test-tensorrt``.

Our calibrators are asked as TensorRT's builder asks them: by the virtual functions of the C++
object that stands behind the Python one.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.calibration.native import HEADERS, NativeCalibrator
from bench.engine.trt.build_log import open_log
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.native_calibrator import base_class, make_feeding, make_reading
from bench.engine.trt.network import make_builder
from bench.engine.trt.version import load_tensorrt
from bench.errors import BenchError, ConfigError, EngineError
from scripts.tensorrt_api import names

trt: Any = pytest.importorskip("tensorrt", reason="real TensorRT is not here: make test-tensorrt")

pytestmark = pytest.mark.tensorrt

ROOT = Path(__file__).parents[2]
SHAPE = (2, 3, 4, 4)


def has_gpu() -> bool:
    try:
        find_gpu()
    except BenchError:
        return False
    return True


without_gpu = pytest.mark.skipif(has_gpu(), reason="there is a GPU here")


def batches(count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full(SHAPE, number, np.float32)


class Builder:
    """Asks a calibrator as TensorRT's builder does.

    A Python object of the bindings (pybind11) holds a pointer to its C++ object behind the object's
    head; that begins with a pointer to its virtual functions, which are in the order of
    NvInferRuntimeCommon.h: getBatchSize, getBatch, readCalibrationCache, writeCalibrationCache,
    getAlgorithm, two destructors, and of the legacy calibrator getQuantile and getRegressionCutoff.
    """

    def __init__(self, calibrator: Any) -> None:
        head = object.__basicsize__
        self._object = ctypes.c_void_p.from_address(id(calibrator) + head).value or 0
        self._functions = ctypes.c_void_p.from_address(self._object).value or 0

    def _call(self, index: int, result: Any, *arguments: Any) -> Any:
        at = self._functions + index * ctypes.sizeof(ctypes.c_void_p)
        kinds = [type(argument) for argument in arguments]
        function = ctypes.CFUNCTYPE(result, ctypes.c_void_p, *kinds)
        return function(ctypes.c_void_p.from_address(at).value)(self._object, *arguments)

    def batch_size(self) -> int:
        return int(self._call(0, ctypes.c_int32))

    def batch(self) -> int | None:
        """The address of the next batch of the input called images; None after the last."""
        bindings, names = (ctypes.c_void_p * 1)(), (ctypes.c_char_p * 1)(b"images")
        given = self._call(1, ctypes.c_bool, bindings, names, ctypes.c_int32(1))
        return bindings[0] if given else None

    def read(self) -> bytes | None:
        length = ctypes.c_size_t()
        at = self._call(2, ctypes.c_void_p, ctypes.pointer(length))
        return ctypes.string_at(at, length.value) if at else None

    def write(self, cache: bytes) -> None:
        self._call(3, None, ctypes.c_char_p(cache), ctypes.c_size_t(len(cache)))

    def algorithm(self) -> str:
        return str(trt.CalibrationAlgoType(self._call(4, ctypes.c_int32)).name)

    def legacy_parameters(self) -> tuple[float, float]:
        quantile, cutoff = (self._call(index, ctypes.c_double) for index in (7, 8))
        return quantile, cutoff


def feeding(algorithm: Any, data: Iterator[np.ndarray], **options: Any) -> Any:
    asked = NativeCalibrator(algorithm, batch_size=SHAPE[0], **options)
    return make_feeding(trt, asked, SHAPE, data, lambda batch: 4096 + int(batch.max()))


def test_it_is_the_version_of_the_finding() -> None:
    assert load_tensorrt().__version__ == "8.5.1.7"


def test_the_committed_names_are_its_names() -> None:
    listed = (ROOT / "tests/engine/tensorrt_api/8.5.1.7.txt").read_text().splitlines()
    assert set(listed) <= set(names(trt.tensorrt))


@pytest.mark.parametrize(
    ("algorithm", "theirs"),
    [
        ("minmax", "MINMAX_CALIBRATION"),
        ("entropy", "ENTROPY_CALIBRATION"),
        ("entropy2", "ENTROPY_CALIBRATION_2"),
        ("legacy", "LEGACY_CALIBRATION"),
    ],
)
def test_our_calibrators_answer_to_its_builder(algorithm: str, theirs: str) -> None:
    ours = feeding(algorithm, batches(2))
    builder = Builder(ours)
    assert isinstance(ours, base_class(trt, HEADERS[algorithm]))
    assert builder.algorithm() == theirs
    assert builder.batch_size() == 2
    assert builder.read() is None
    assert [builder.batch() for _ in range(3)] == [4096, 4097, None]
    header = f"TRT-8501-{HEADERS[algorithm]}"
    builder.write(f"{header}\nimages: 3c010a14\n".encode())
    result = ours.result(2)  # type: ignore[attr-defined]
    assert (result.cache.header, result.batches) == (header, 2)


def test_the_legacy_calibrator_tells_its_parameters() -> None:
    ours = feeding("legacy", batches(1), quantile=0.99, regression_cutoff=0.25)
    assert Builder(ours).legacy_parameters() == (0.99, 0.25)


def test_a_reading_calibrator_gives_its_cache_and_no_batch() -> None:
    ours = make_reading(trt, {"images": 1.0}, "EntropyCalibration2")
    builder = Builder(ours)
    content = builder.read()
    assert content == b"TRT-8501-EntropyCalibration2\nimages: 3c010204\n"
    ours.check()
    assert builder.batch() is None
    with pytest.raises(EngineError, match="did not take"):
        ours.check()


def test_it_swallows_an_exception_and_ours_keeps_it() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from batches(1)
        raise BenchError("image 3 is broken")

    class Plain(trt.IInt8MinMaxCalibrator):
        def __init__(self) -> None:
            trt.IInt8MinMaxCalibrator.__init__(self)

        def get_batch(self, names: list[str]) -> list[int]:
            raise BenchError("image 3 is broken")

    plain, ours = Plain(), feeding("minmax", broken())
    assert Builder(plain).batch() is None  # as if the data had ended
    builder = Builder(ours)
    assert [builder.batch() for _ in range(3)] == [4096, None, None]
    with pytest.raises(BenchError, match="image 3 is broken"):
        ours.check()


def test_every_name_of_cuda_s_and_of_the_management_library_s_exists() -> None:
    runtime, nvml = (importlib.import_module(m) for m in ("cuda.bindings.runtime", "pynvml"))
    source = (ROOT / "bench/engine/trt/cuda.py").read_text()
    source += (ROOT / "bench/engine/trt/runtime.py").read_text()
    functions = set(re.findall(r"cudart\.(cuda\w+)", source))
    assert len(functions) > 15
    assert not {name for name in functions if not hasattr(runtime, name)}
    assert hasattr(runtime.cudaStreamCaptureMode, "cudaStreamCaptureModeThreadLocal")
    for kind in re.findall(r"cudaMemcpy\w+To\w+", source):
        assert hasattr(runtime.cudaMemcpyKind, kind)
    managed = set(re.findall(r"nvml\.([nN]\w+)", source))
    assert len(managed) > 5
    assert not {name for name in managed if not hasattr(nvml, name)}


@without_gpu
def test_without_a_driver_a_builder_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot start a builder") as error:
        make_builder(trt, open_log(trt))
    assert "CUDA initialization failure with error: 35" in str(error.value)
    assert "\n" not in str(error.value)


@without_gpu
@pytest.mark.parametrize("more", [[], ["engine.mode=implicit", "placement=implicit"]], ids=str)
def test_without_a_driver_the_command_ends_in_one_line(more: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "engine=tensorrt", f"sweep.out={tmp_path}", *more]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert ended.returncode == 2
    assert len(errors) == 1 and "engine tensorrt: there is no NVIDIA driver" in errors[0]
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.rglob("*.json"))
