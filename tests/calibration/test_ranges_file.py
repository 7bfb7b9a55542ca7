"""Files of ranges, as several tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.quant_utils import write_calibration_table

from bench.calibration.calibrator import SILENT_AMAX
from bench.calibration.ranges_file import RangesFile, read_ranges
from bench.calibration.trt_cache import from_ranges, to_json
from bench.errors import BenchError, ConfigError

AMAX = {"images": 1.0, "/model.0/act/Mul_output_0": 7.25}


def test_a_calibration_cache_of_tensorrt(tmp_path: Path) -> None:
    file = tmp_path / "entropy.cache"
    file.write_bytes(from_ranges(AMAX, "8.5.1", "EntropyCalibration2").to_bytes())
    read = RangesFile(str(file))
    assert dict(read.ranges) == pytest.approx(AMAX, rel=1e-6)
    assert read.name == "entropy"


def test_what_a_sweep_stores(tmp_path: Path) -> None:
    file = tmp_path / "ranges.json"
    file.write_text(to_json(AMAX))
    assert dict(RangesFile(str(file), "ours").ranges) == AMAX
    assert RangesFile(str(file), "ours").name == "ours"


@pytest.mark.parametrize("name", ["calibration.json", "calibration.cache"])
def test_what_onnxruntime_writes(tmp_path: Path, name: str) -> None:
    ends = {name: (np.float32([-amax / 4]), np.float32([amax])) for name, amax in AMAX.items()}
    data = TensorsData(CalibrationMethod.MinMax, ends)
    write_calibration_table(data.data, str(tmp_path))
    assert dict(RangesFile(str(tmp_path / name)).ranges) == pytest.approx(AMAX)


def test_the_lower_end_counts_too() -> None:
    """``calibration.cache`` of ONNX Runtime has the larger end, whatever lies below zero; its JSON
    has both."""
    content = b'{"x": {"lowest": -3.0, "highest": 1.0}}'
    assert dict(read_ranges(content, "x.json")) == {"x": 3.0}


@pytest.mark.parametrize(
    "content",
    [
        b"TRT-8501-EntropyCalibration2\nimages: 3c010204\nrelu: 0\n",
        b'{"images": {"lowest": -1.0, "highest": 0.5}, "relu": {"lowest": 0, "highest": 0}}',
        b"images 1.0\nrelu 0\n",
    ],
    ids=["TensorRT", "JSON", "lines"],
)
def test_a_tensor_with_only_zeros_has_the_range_of_our_calibrators(content: bytes) -> None:
    """Without one it would stay in float, unlike in rows of TensorRT's own calibrators."""
    read = dict(read_ranges(content, "FILE"))
    assert read == pytest.approx({"images": 1.0, "relu": SILENT_AMAX}, rel=1e-6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no dynamic ranges"),
        (b"{}", "no dynamic ranges"),
        (b"{broken", "not JSON"),
        (b'{"x": {"lowest": 1}}', "no lowest and highest"),
        (b'{"x": {"lowest": 0, "highest": "1"}}', "no lowest and highest"),
        (b'{"x": {"lowest": [1, 2], "highest": 1}}', "no lowest and highest"),
        (b'{"x": [0, 1]}', "not [-amax, amax]"),
        (b"[1]", "line 1"),
        (b"images 1.0\nother\n", "line 2"),
        (b"images nan\n", "line 1"),
        (b"images 0\n", "no dynamic ranges"),
        (b"\xff\xfe\x00", "not text"),
        (b"TRT-8501-EntropyCalibration2\nimages: zz\n", "line 2"),
        (b"TRT-8501-EntropyCalibration2\nimages: 00000000\n", "no dynamic ranges"),
    ],
)
def test_what_is_wrong_is_one_line(content: bytes, said: str) -> None:
    with pytest.raises(BenchError) as caught:
        read_ranges(content, "FILE")
    assert said in str(caught.value)
    assert "FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label_that_no_table_can_hold(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(to_json(AMAX))
    with pytest.raises(ConfigError, match="cannot be a name"):
        RangesFile(str(file), "a b;c")
    with pytest.raises(ConfigError, match="not a file"):
        RangesFile(str(tmp_path / "none.json"))
