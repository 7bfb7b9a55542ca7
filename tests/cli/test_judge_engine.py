"""``int8bench judge`` of a serialized engine, on the stand-in for TensorRT."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper

from bench.__main__ import main
from bench.cli import conclusion, confirm
from bench.cli.compose import build_typed
from bench.cli.expected import read_reference, write_reference
from bench.deploy.choose import choose_row, rebuild_run
from bench.deploy.kit.rows import choose_rows
from bench.engine.trt.builder import build_explicit
from bench.engine.trt.engine import TensorRt
from bench.errors import BenchError, DataError
from bench.model.edit import with_batch
from bench.results.row import Row
from bench.results.settings import Settings
from bench.results.store import RowStore
from bench.results.table import read_table
from bench.run.ranges import find_run_ranges, quantize
from tests.e2e.command import CLASSIFIER, SHAPES, Ended

VERSION = "10.16.1.11"


def words(folder: Path) -> list[str]:
    return [
        *CLASSIFIER, *SHAPES, f"model.path={folder}/fp32.onnx", f"sweep.out={folder}/out",
        f"sweep.cache={folder}/cache", "calibration.size=4",
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, sketch: Any) -> Path:
    g = sketch(1)
    x = g.op("Relu", g.conv("images", 3, 8, "stem", k=8, strides=[8, 8], pads=[0] * 4))
    x = g.op("Relu", g.conv(x, 8, 8, "middle"))
    onnx.save(g.model(g.classify(x, 8, 10), size=(64, 64)), tmp_path / "fp32.onnx")
    return tmp_path


@pytest.fixture
def build(folder: Path, fake_tensorrt: Callable[..., Any]) -> Callable[..., bytes]:
    """``build(change, detailed, **stand_in)``: the plan of the model's INT8 engine; ``change``
    changes the ONNX file before."""

    def make(
        change: Callable[[onnx.ModelProto], None] = lambda proto: None,
        detailed: bool = True,
        version: str = VERSION,
        batch: int = 1,
        **stand_in: str,
    ) -> bytes:
        trt = fake_tensorrt(version, **stand_in)
        run = build_typed([*words(folder), f"evaluation.batch_size={batch}"])
        proto = quantize(run, find_run_ranges(run))
        change(proto)
        settings = TensorRt(cache=f"{folder}/engines").settings
        plan = build_explicit(trt, proto, settings).content
        if not detailed:
            content = json.loads(plan[4:])
            plan = plan[:4] + json.dumps(content | {"information": '{"Layers": ["stem"]}'}).encode()
        return plan

    return make


@pytest.fixture
def ask(
    folder: Path,
    fake_tensorrt: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Ended]:
    def run(
        content: bytes, *asked: str, name: str = "theirs.engine", report: bool = False
    ) -> Ended:
        fake_tensorrt(VERSION)
        if not report:
            monkeypatch.setattr(conclusion, "write_claims", lambda *given: [])
            monkeypatch.setattr(conclusion, "write_report", lambda folder, *rest: folder)
        (folder / name).write_bytes(content)
        status = main(["judge", str(folder / name), *words(folder), "ours=[]", *asked])
        return Ended(status, *capsys.readouterr())

    return run


def the_row(folder: Path) -> Row:
    (row,) = (row for row in RowStore(folder / "out").rows() if row.calibrator == "theirs")
    return row


def test_an_engine_becomes_a_row(build, ask, folder) -> None:
    ended = ask(build(), "ours=[minmax]", report=True)
    assert ended.status == 0, ended.err
    row = the_row(folder)
    assert (row.status, row.plan, row.placement) == ("ok", "file", "")
    assert (row.engine, row.engine_version) == ("tensorrt", VERSION)
    assert row.accuracy_by == "serialized engine"
    assert row.int8 is not None and row.fp32 is not None
    assert row.ci_low is not None and row.ci_low <= row.int8 - row.fp32 <= row.ci_high
    assert row.int8_mac_share == pytest.approx(1.0)
    assert row.int8_layers == row.product_layers == 3
    assert row.device_latency_p50_ms is not None and row.speedup is not None
    assert row.device == "NVIDIA Test GPU, driver 550.54"
    assert row.engine_bytes == (folder / "theirs.engine").stat().st_size
    # What only a Q/DQ file could say, and what was not done here
    unknown = (
        "planned_mac_share", "planned_layers_in_float", "qdq_bytes", "input_amax", "exact_sqnr_db",
        "kernels_int8", "build_s", "engine_build_s", "collect_s",
    )  # fmt: skip
    assert {getattr(row, column) for column in unknown} == {None}
    layers = json.loads((folder / "out" / "layers" / f"{row.run_key}.json").read_text())
    assert all(layer["ran_int8"] and layer["planned_int8"] is None for layer in layers.values())
    assert "minmax, plan all (0." in ended.out
    said = " ".join(ended.out.split())
    assert "theirs: a serialized engine, measured as it is on NVIDIA Test GPU" in said
    assert "ms per batch" in said
    assert "1 serialized engine of others" in (folder / "out" / "report.md").read_text()


def test_the_engine_itself_is_measured(build, ask, folder) -> None:
    """Not a Q/DQ file of ours: an engine with other weights has another accuracy."""

    def ruin(proto: onnx.ModelProto) -> None:
        for tensor in proto.graph.initializer:
            if tensor.name.endswith("/weight/quantized"):
                zeros = np.zeros_like(numpy_helper.to_array(tensor))
                tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))

    assert ask(build(ruin)).status == 0
    row = the_row(folder)
    assert row.sqnr_db is not None and row.sqnr_db < 3


def test_metadata_of_ultralytics_is_skipped(build, ask, folder) -> None:
    text = json.dumps({"names": {0: "a"}, "imgsz": [64, 64]}).encode()
    ended = ask(len(text).to_bytes(4, "little") + text + build(), name="theirs.bin")
    assert ended.status == 0, ended.err
    assert the_row(folder).accuracy_by == "serialized engine"


def test_layers_are_unknown_without_detailed_verbosity(build, ask, folder) -> None:
    ended = ask(build(detailed=False))
    assert ended.status == 0, ended.err
    assert the_row(folder).int8_mac_share is None
    assert "it does not say which layers are INT8" in " ".join(ended.out.split())
    table = pd.read_csv(folder / "out" / "table.csv", keep_default_na=False)
    assert "does not report which layers" in "".join(table["latency_note"])


def renamed(proto: onnx.ModelProto, old: str, new: str) -> None:
    for node in proto.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = new if name == old else name
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = new if value.name == old else value.name


def other_input(proto: onnx.ModelProto) -> None:
    renamed(proto, "images", "pictures")


def other_output(proto: onnx.ModelProto) -> None:
    renamed(proto, proto.graph.output[0].name, "logits_of_another")


def other_size(proto: onnx.ModelProto) -> None:
    for index in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[index].dim_value = 128


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"change": other_input}, "has input 'pictures', and the FP32 model 'images'"),
        ({"change": other_output}, "has output 'logits_of_another', and the FP32 model"),
        ({"change": other_size}, "'images' of shape N x 3 x 128 x 128, and the FP32 model of N x"),
        ({"batch": 2}, "takes batches of 2, not evaluation.batch_size=1"),
        ({"version": "11.4.0.106"}, f"TensorRT {VERSION} cannot load"),
        ({"gpu": "NVIDIA Other GPU"}, "on NVIDIA Test GPU, driver 550.54 (6: The engine plan"),
    ],
)
def test_an_engine_that_does_not_fit_is_one_line(build, ask, folder, options, said) -> None:
    refused_in_one_line(ask(build(**options)), said, folder)


def refused_in_one_line(ended: Ended, said: str, folder: Path) -> None:
    assert ended.status == 2
    assert said in ended.err
    assert "theirs.engine" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not list((folder / "out").rglob("rows/*.json"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda plan: plan[: len(plan) // 2], "cannot load"),
        (lambda plan: b"", "is not a TensorRT engine"),
        (lambda plan: b"\x10\x00\x00\x00not JSON at all!" + plan, "is not a TensorRT engine"),
        (lambda plan: b"\xff\xff\xff\xff" + plan, "is not a TensorRT engine"),
        (lambda plan: plan[4:], "is not a TensorRT engine"),
    ],
    ids=["truncated", "empty", "no metadata", "endless metadata", "no magic"],
)
def test_a_damaged_engine_is_one_line(build, ask, folder, damage, said) -> None:
    refused_in_one_line(ask(damage(build())), said, folder)


@pytest.mark.parametrize(
    ("kind", "said"), [("INT32", "'images' as INT32"), ("BOOL", "'images' as BOOL")]
)
def test_integers_at_the_ends_are_refused(build, ask, folder, monkeypatch, kind, said) -> None:
    plan, trt = build(), sys.modules["tensorrt"]
    monkeypatch.setattr(trt.ICudaEngine, "get_tensor_dtype", lambda self, name: trt.DataType[kind])
    (folder / "theirs.engine").write_bytes(plan)
    run = build_typed(words(folder))
    engine, fixed = TensorRt(cache=str(folder)), with_batch(run.model.network.proto, "images", 1)
    shapes = {"images": (1, 3, 64, 64), run.model.network.output_names[0]: (1, 10)}
    with pytest.raises(BenchError) as error:
        engine.load(folder / "theirs.engine", fixed, shapes)
    assert said in str(error.value)


def test_without_tensorrt_other_files_are_measured(folder, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    (folder / "theirs.engine").write_bytes(b"ftrt\x00\x01")
    (folder / "ranges.json").write_text('{"images": [-1.0, 1.0]}')
    files = [str(folder / name) for name in ("theirs.engine", "ranges.json")]
    assert main(["judge", *files, *words(folder), "ours=[]"]) == 2
    said = capsys.readouterr().err
    assert "theirs.engine is a serialized TensorRT engine: engine tensorrt needs TensorRT" in said
    assert {row.calibrator for row in RowStore(folder / "out").rows()} == {"ranges"}


def test_without_timing_it_has_accuracy_alone(build, ask, folder) -> None:
    ended = ask(build(), "timing=off")
    assert ended.status == 0, ended.err
    row = the_row(folder)
    assert row.int8 is not None
    assert row.int8_latency_p50_ms is row.device_latency_p50_ms is row.speedup is None
    assert "ms per batch" not in " ".join(ended.out.split())


def test_nothing_runs_it_again_but_judge(build, ask, folder) -> None:
    """Neither the repetitions that end a sweep, nor a reference written from its table."""
    assert ask(build(), "ours=[minmax]", "timing=off").status == 0
    store = RowStore(folder / "as if FP32 found something")
    for row in RowStore(folder / "out").rows():
        store.add(replace(row, fp32=0.9, int8=0.9, delta=0.0), {})
    answered = confirm.answers_in(store.folder, Settings())
    assert {result.calibrator_label for one in answered for result in one.results} == {"minmax"}
    path = folder / "expected.yaml"
    path.write_text(write_reference(read_table(folder / "out"), folder / "out"))
    (case,) = read_reference(path).cases
    assert "calibrator=minmax" in case.overrides


def test_the_words_of_its_row_load_nothing(build, ask, folder) -> None:
    """An engine runs code, and a row may come from a stranger."""
    assert ask(build()).status == 0
    row = the_row(folder)
    assert row.overrides.startswith("judge ")
    with pytest.raises(BenchError, match="serialized engine"):
        choose_row(folder / "out", row.run_key)
    with pytest.raises(DataError, match="no run"):
        choose_rows(folder / "out", [row.run_key], None)
    with pytest.raises(BenchError, match="serialized engine"):
        rebuild_run(row)
    typed = [*words(folder), "engine=tensorrt", "calibrator=engine_file"]
    assert main([*typed, f"calibrator.path={folder}/theirs.engine"]) == 2
    target = "calibrator._target_=bench.calibration.engine_file.EngineFile"
    path = f"calibrator.path={folder}/theirs.engine"
    assert main([*words(folder), "calibrator=quantized_file", target, path]) == 2
