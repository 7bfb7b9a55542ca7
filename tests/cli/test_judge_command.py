"""``int8bench judge``: files of other tools, measured beside our own."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime.quantization as ort_quantization
import pandas as pd
import pytest
from onnx import numpy_helper

from bench.__main__ import main
from bench.calibration.trt_cache import from_ranges
from bench.cli.compose import build_typed
from bench.run.inputs import calibration_image
from tests.e2e.command import CLASSIFIER, SHAPES, Ended


class Reader(ort_quantization.CalibrationDataReader):
    """The calibration images of the runs below."""

    def __init__(self, folder: Path) -> None:
        image = calibration_image(build_typed(words(folder)))
        self._left = iter([image(index) for index in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._left, None)
        return None if batch is None else {"images": batch}


def words(folder: Path) -> list[str]:
    return [
        *CLASSIFIER, *SHAPES, f"model.path={folder}/fp32.onnx", f"sweep.out={folder}/out",
        f"sweep.cache={folder}/cache", "calibration.size=4",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sketch) -> Path:
    made = tmp_path_factory.mktemp("judge")
    g = sketch(1)
    x = g.op("Relu", g.conv("images", 3, 8, "stem", k=8, strides=[8, 8], pads=[0] * 4))
    x = g.op("Relu", g.conv(x, 8, 8, "middle"))
    onnx.save(g.model(g.classify(x, 8, 10), size=(64, 64)), made / "fp32.onnx")
    for name, form in (("theirs", "QDQ"), ("operators", "QOperator")):
        ort_quantization.quantize_static(
            str(made / "fp32.onnx"),
            str(made / f"{name}.onnx"),
            Reader(made),
            quant_format=getattr(ort_quantization.QuantFormat, form),
        )
    return made


@pytest.fixture
def ask(folder: Path, capsys) -> Callable[..., Ended]:
    def run(*asked: str) -> Ended:
        files = [word for word in asked if "=" not in word]
        usual = [*words(folder), "ours=[minmax]"]
        given = [word for word in asked if "=" in word]
        keys = {word.partition("=")[0] for word in given}
        kept = [word for word in usual if word.partition("=")[0] not in keys]
        status = main(["judge", *(str(folder / file) for file in files), *kept, *given])
        return Ended(status, *capsys.readouterr())

    return run


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "table.csv", keep_default_na=False).set_index("calibrator")


def test_files_become_rows_beside_ours(ask, folder) -> None:
    ended = ask("theirs.onnx", "operators.onnx")
    assert ended.status == 0, ended.err
    rows = table(folder)
    assert set(rows.index) >= {"theirs", "operators", "minmax"}
    theirs = rows.loc["theirs"]
    assert theirs["plan"] == "file"
    assert float(theirs["planned_mac_share"]) == 1.0
    assert theirs["accuracy_by"] == "exact emulation"
    assert float(theirs["fp32"]) == float(rows.loc["minmax"]["fp32"])
    assert float(rows.loc["operators"]["int8"]) == pytest.approx(float(theirs["int8"]), abs=0.05)
    assert theirs["collect_s"] == ""  # our pass over the images is none of its cost
    assert float(rows.loc["minmax"]["collect_s"]) > 0
    assert "Files of other tools" in ended.out
    assert "minmax, plan all (0." in ended.out
    compared = folder / "out" / "compared" / f"{theirs['run_key']}.csv"
    with compared.open() as file:
        lines = list(csv.DictReader(file))
    image = next(line for line in lines if line["tensor"] == "images")
    assert float(image["amax"]) == pytest.approx(float(image["our_amax"]), rel=0.02)
    assert float(image["our_amax"]) == pytest.approx(float(image["largest_seen"]))


def test_ranges_of_a_cache_take_our_placement(ask, folder) -> None:
    ask("theirs.onnx")
    amax = {"images": 0.25, "unknown": 3.0}
    content = from_ranges(amax, "8.5.1", "EntropyCalibration2").to_bytes()
    (folder / "native.cache").write_bytes(content)
    ended = ask("native.cache")
    assert ended.status == 0, ended.err
    row = table(folder).loc["native"]
    assert (row["plan"], row["placement"]) == ("all", "explicit")
    assert float(row["input_amax"]) == pytest.approx(0.25)
    assert 0 < float(row["planned_mac_share"]) < 1  # layers behind tensors without a range


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["ours=[minmax]"], "judge needs a file"),
        (["missing.onnx"], "is not a file"),
        (["fp32.onnx"], "nothing in it is INT8"),
        (["empty.onnx"], "not a valid ONNX model"),
        (["broken.cache"], "line 1"),
        (["other.cache"], "of none that the plan quantizes"),
        (["engine.plan"], "is a serialized TensorRT engine"),
        (["theirs.onnx", "calibration.size=4,8"], "takes one per key"),
        (["theirs.onnx", "calibrator=mse"], "ours="),
        (["theirs.onnx", "ours=[nothing]"], "nothing"),
        (["theirs.onnx", "model.path=none.onnx"], "none.onnx"),
    ],
)
def test_what_is_wrong_is_one_line(ask, folder, asked, said) -> None:
    (folder / "empty.onnx").write_bytes(b"\x00")
    (folder / "broken.cache").write_text("not a cache\n")
    (folder / "other.cache").write_bytes(from_ranges({"x": 1.0}, "8.5.1", "A").to_bytes())
    (folder / "engine.plan").write_bytes(b"ftrt\x00\x01")
    before = sorted((folder / "out" / "rows").glob("*.json"))
    ended = ask(*asked)
    assert ended.status == 2
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "Traceback" not in ended.err
    assert sorted((folder / "out" / "rows").glob("*.json")) == before


def test_a_plan_is_not_for_a_quantized_file(folder, capsys) -> None:
    file = [f"calibrator.path={folder}/theirs.onnx", "calibrator=quantized_file"]
    assert main([*words(folder), *file, "plan=float_first"]) == 2
    assert "itself defines" in capsys.readouterr().err


def test_weights_that_were_changed_are_measured_as_they_are(ask, folder) -> None:
    """A file whose weights are all zero has no signal left: none is taken from the FP32 file."""
    ruined = onnx.load(folder / "theirs.onnx")
    for tensor in ruined.graph.initializer:
        if tensor.name.endswith("_quantized"):
            array = np.zeros_like(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(ruined, folder / "ruined.onnx")
    assert ask("theirs.onnx", "ruined.onnx").status == 0
    decibels = table(folder)["sqnr_db"].astype(float)
    assert decibels["theirs"] > 10
    assert decibels["ruined"] < 1
