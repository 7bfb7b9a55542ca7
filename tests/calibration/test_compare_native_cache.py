"""The script that sets our thresholds beside those of a cache that TensorRT wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from PIL import Image as Pil

from bench.calibration.trt_cache import from_ranges
from scripts.compare_native_cache import closeness, main, read_names

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "trt_real"
YOLO = ROOT.parent / "shared" / "models" / "yolov8n_coco_w8.onnx"
RECORD = ROOT / "results" / "reference" / "native-thresholds.csv"

Files = dict[str, Path]


@pytest.fixture
def files(sketch: Callable[..., Any], tmp_path: Path) -> Files:
    """A network with a pool and a Concat, images, a cache of all its tensors, and their names."""
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    pool = g.op("MaxPool", x, name="pool", kernel_shape=[3, 3], pads=[1] * 4)
    both = g.op("Concat", x, pool, name="both", axis=1)
    onnx.save(g.model(g.conv(both, 8, 2, "last")), tmp_path / "model.onnx")
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(3):
        pixels = generator.integers(0, 256, (20, 24, 3), np.uint8)
        Pil.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    tensors = ("images", "stem_out", "relu_out", "pool_out", "both_out", "last_out")
    cache = from_ranges(
        {f"their {name}": 1.0 for name in tensors}, "10.14.1", "EntropyCalibration2"
    )
    (tmp_path / "native.cache").write_bytes(cache.to_bytes())
    (tmp_path / "names.json").write_text(json.dumps({name: f"their {name}" for name in tensors}))
    return {
        "MODEL": tmp_path / "model.onnx", "IMAGES": tmp_path / "images",
        "CACHE": tmp_path / "native.cache", "NAMES": tmp_path / "names.json",
    }  # fmt: skip


def run(files: Files, out: Path, *more: str) -> int:
    return main([*map(str, files.values()), "--out", str(out), *more])


def test_every_tensor_has_a_line(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files, tmp_path / "out", "--batch-size", "2") == 0
    told = capsys.readouterr().out
    assert "all tensors (6)" in told
    assert "outputs of convolutions (2)" in told
    assert "TRT-101401-EntropyCalibration2, 3 images" in told
    assert (tmp_path / "out" / "native-thresholds.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "out" / "native-thresholds.csv").set_index("tensor")
    assert table["native_tensor"].tolist() == [f"their {name}" for name in table.index]
    assert table.loc["images", "op"] == "input"
    assert table.loc["pool_out", "op"] == "MaxPool"
    np.testing.assert_allclose(table["native"], 1, rtol=1e-6)
    np.testing.assert_allclose(table["minmax"], table["observed_max"])
    assert table["entropy2"]["relu_out"] == table["entropy2 implicit_tensorrt10"]["pool_out"]
    assert table["entropy2"]["both_out"] == table["entropy2 implicit"]["pool_out"]
    assert {"entropy2 batch 2", "entropy2 tensorrt10 batch 2", "percentile 99.99", "mse"} <= set(
        table
    )


def test_thresholds_of_our_own_are_close(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files, tmp_path / "first") == 0
    found = pd.read_csv(tmp_path / "first" / "native-thresholds.csv")
    amax = dict(zip(found["native_tensor"], found["entropy2"], strict=True))
    cache = from_ranges(amax, "8.6.1", "EntropyCalibration2")
    files["CACHE"].write_bytes(cache.to_bytes())
    assert run(files, tmp_path / "second") == 0
    again = pd.read_csv(tmp_path / "second" / "native-thresholds.csv")
    close = closeness(again["entropy2"] / again["native"])
    assert close["median"] == pytest.approx(1, abs=1e-4)
    assert (close["within 10 %"], close["within 25 %"]) == (1, 1)
    assert close["rms octaves"] < 1e-4


def test_how_close_thresholds_lie() -> None:
    assert closeness(pd.Series([0.5, 0.95, 1.0, 1.2])) == pytest.approx(
        {"median": 0.975, "within 10 %": 0.5, "within 25 %": 0.75, "rms octaves": 0.518}, abs=1e-3
    )


@pytest.mark.parametrize("missing", ["MODEL", "IMAGES", "CACHE", "NAMES"])
def test_a_missing_file_is_one_line(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    files[missing] = tmp_path / "nothing"
    assert run(files, tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert f"{tmp_path}/nothing" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "has no tensor names"),
        ('{"images": 1}', "has no tensor names"),
        ("{}", "no tensor of NAMES is in both MODEL and CACHE"),
        ('{"images": "nobody\'s"}', "no tensor of NAMES is in both MODEL and CACHE"),
    ],
)
def test_names_that_name_nothing_are_one_line(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    files["NAMES"].write_text(content)
    assert run(files, tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_batch_size_below_one_is_one_line(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files, tmp_path / "out", "--batch-size", "0") == 2
    assert "--batch-size=0 is below 1" in capsys.readouterr().err


def test_names_are_read(files: Files) -> None:
    assert read_names(files["NAMES"])["images"] == "their images"


def test_the_record_says_what_the_documentation_says() -> None:
    """docs/explanation/entropy.md gives figures of results/reference/native-thresholds.csv."""
    table = pd.read_csv(RECORD)
    convolutions = table[table["op"] == "Conv"]
    assert (len(table), len(convolutions)) == (204, 64)
    everywhere = closeness(table["entropy2"] / table["native"])
    inside = closeness(convolutions["entropy2"] / convolutions["native"])
    assert everywhere["median"] == pytest.approx(0.997, abs=5e-4)
    assert everywhere["within 25 %"] == pytest.approx(0.96, abs=5e-3)
    assert inside["within 10 %"] == pytest.approx(0.88, abs=6e-3)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not (REAL.is_dir() and YOLO.is_file()), reason=f"{REAL}, {YOLO} are not there")
def test_the_record_is_made_again(tmp_path: Path) -> None:
    files = {
        "MODEL": YOLO,
        "IMAGES": REAL / "coco128" / "images",
        "CACHE": REAL / "caches" / "yolov8n_coco128_trt10.14.1_entropy2.cache",
        "NAMES": REAL / "yolov8n_w8_to_cache_names.json",
    }
    assert run(files, tmp_path) == 0
    made, kept = pd.read_csv(tmp_path / "native-thresholds.csv"), pd.read_csv(RECORD)
    assert made["tensor"].tolist() == kept["tensor"].tolist()
    np.testing.assert_allclose(made["native"], kept["native"], rtol=1e-5)
    # Another processor rounds otherwise, and a search's minimum may then be elsewhere.
    for name in made.columns[4:]:
        assert np.mean(np.isclose(made[name], kept[name], rtol=0.01)) > 0.9
