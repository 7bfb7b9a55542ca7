"""On the machine where it is deployed: a bundle checks itself, and gives the row's figure."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bench.cli.compose import build_typed
from bench.deploy import figure
from bench.deploy import verify as verify_script
from bench.run.measure import first_batches
from bench.run.spec import Run

pytestmark = pytest.mark.e2e

CLEAN = """
import importlib.abc, runpy, sys

class OnlyThese(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {"bench", "onnx", "cv2", "openvino", "pandas", "PIL", "hydra"}:
            raise ImportError(name + " is not on this machine")

sys.meta_path.insert(0, OnlyThese())
"""
"""A process that has numpy and ONNX Runtime, and nothing of what makes bundles."""

TOP_1 = """
import numpy as np, onnxruntime as ort
bundle, file, accuracy_by = sys.argv[1:]
with np.load(file) as data:
    images, labels = data["images"], data["labels"]
options = ort.SessionOptions()
if accuracy_by == "exact emulation":
    options.add_session_config_entry("session.disable_quant_qdq", "1")
file = bundle + "/model.qdq.onnx"
session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
found = [session.run(None, {name: image[None]})[0][0].argmax() for image in images]
print(repr(float(np.mean(np.array(found) == labels))))
"""


def in_clean_environment(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """``python -I``: neither the current folder nor PYTHONPATH is looked into."""
    command = [sys.executable, "-I", "-c", CLEAN + code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def verify(bundle: Path, *options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-I", bundle / "verify.py", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_a_bundle_checks_itself_without_the_package(bundles, tmp_path):
    code = "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    for bundle in bundles.values():
        ended = in_clean_environment(code, bundle / "verify.py", cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        sums, outputs, kernels = ended.stdout.splitlines()
        assert sums == "ok      17 files have their checksums"
        assert outputs == "ok      model.qdq.onnx: outputs are exactly the expected ones"
        assert kernels.startswith("note    ONNX Runtime's int8 kernels")


def test_the_file_gives_the_row_in_a_clean_environment(bundles, rows, tmp_path):
    for plan, bundle in bundles.items():
        run: Run = build_typed(rows[plan].overrides.split())
        images = np.concatenate(first_batches(run, 48))
        np.savez(tmp_path / "all.npz", images=images, labels=np.asarray(run.dataset.labels))
        by = rows[plan].accuracy_by
        ended = in_clean_environment(TOP_1, bundle, tmp_path / "all.npz", by, cwd=tmp_path)
        assert ended.stdout.strip() == repr(rows[plan].int8), ended.stderr
    assert rows["all"].int8 != rows["all"].fp32  # or FP32 would do as well


def test_the_package_measures_the_row_again_to_the_last_digit(bundles, rows):
    for plan, bundle in bundles.items():
        line, confirmed = figure.measure_figure(bundle, [])
        assert confirmed
        assert f"on 48 images: {rows[plan].int8!r}, FP32 {rows[plan].fp32!r}; the row's" in line


def test_options_change_the_run_that_measures(bundles):
    line, confirmed = figure.measure_figure(bundles["all"], ["engine=openvino"])
    assert "Top-1 in openvino" in line
    assert confirmed


def test_verify_tells_the_figure(bundles):
    asked = verify(bundles["all"], "--figure", "evaluation.images=8")
    assert asked.returncode == 0, asked.stdout
    assert "ok      Top-1 in onnxruntime" in asked.stdout
    assert "on 8 images" in asked.stdout


def test_a_figure_that_cannot_be_measured_is_told_in_one_line(bundles, capsys):
    assert figure.main([str(bundles["all"]), "evaluation.images=none"]) == 2
    assert figure.main([]) == 2
    wrong, missing = capsys.readouterr().err.splitlines()
    assert wrong.startswith("error: evaluation.images=none is not a whole number")
    assert missing.startswith("error: no bundle is named")


def test_a_loss_beyond_the_interval_is_a_failure(copied):
    facts = json.loads((copied / "bundle.json").read_text())
    facts["row"]["ci_low"] = facts["row"]["delta"] + 0.001
    (copied / "bundle.json").write_text(json.dumps(facts))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert figure.main([str(copied)]) == 1
    assert "the loss is beyond the row's interval" in said.getvalue()


@pytest.mark.parametrize("name", ["model.qdq.onnx", "calibration.cache", "samples/batch-0.bin"])
def test_a_changed_file_is_told_and_nothing_else_is_run(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    ended = verify(copied)
    assert ended.returncode == 1
    assert ended.stdout == (
        f"FAILED  {name} is not the file that was bundled. Copy the folder again\n"
    )


def test_a_missing_file_is_told(copied):
    (copied / "build_engine.py").unlink()
    ended = verify(copied)
    assert ended.returncode == 1
    assert ended.stdout == "FAILED  build_engine.py is missing. Copy the whole folder again\n"


def test_kernels_that_saturate_are_a_note_and_no_failure(copied, monkeypatch):
    """The bundle is right; another engine may run it."""
    outputs = verify_script.run_onnx(copied, exact=True)
    off = [{name: values * 0.5 for name, values in one.items()} for one in outputs]
    monkeypatch.setattr(verify_script, "run_onnx", lambda bundle, exact: outputs if exact else off)
    said = verify_script.look_at_kernels(copied)
    assert said.startswith(
        "ONNX Runtime's int8 kernels: outputs agree with the expected ones by 6.0 dB;"
    )
    assert "session.disable_quant_qdq=1" in said


def engine_outputs(bundle: Path, folder: Path, change: float) -> list[Path]:
    """What ``trtexec --exportOutput`` would write of an engine that is off by ``change``."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(bundle / "model.qdq.onnx", options, providers=providers)
    written = []
    for index in range(4):
        batch = np.fromfile(bundle / "samples" / f"batch-{index}.bin", "<f4").reshape(1, 3, 64, 64)
        (logits,) = session.run(None, {"input": batch})
        tensor = {
            "name": "logits",
            "dimensions": "x".join(map(str, logits.shape)),
            "values": [float(f"{value:.6g}") for value in (logits * (1 + change)).ravel()],
        }
        written.append(folder / f"out-{index}.json")
        written[-1].write_text(json.dumps([tensor]))
    return written


def test_an_engine_is_checked_by_its_outputs_alone(bundles, tmp_path):
    close = verify(bundles["all"], "--outputs", *engine_outputs(bundles["all"], tmp_path, 0.001))
    assert close.returncode == 0, close.stdout
    assert "ok      the engine: outputs agree with the expected ones by 60.0 dB" in close.stdout
    far = verify(bundles["all"], "--outputs", *engine_outputs(bundles["all"], tmp_path, 0.1))
    assert far.returncode == 1
    assert "FAILED  the engine: outputs agree with the expected ones by 20.0 dB;" in far.stdout


def test_outputs_of_something_else_are_refused(bundles, tmp_path):
    files = engine_outputs(bundles["all"], tmp_path, 0)
    few = verify(bundles["all"], "--outputs", *files[:3])
    assert "FAILED  3 batches of outputs, 4 expected" in few.stdout
    files[0].write_text(json.dumps([{"name": "boxes", "dimensions": "1x2", "values": [1, 2]}]))
    other = verify(bundles["all"], "--outputs", *files)
    assert "FAILED  the engine has no output 'logits' of 10 values" in other.stdout
    files[0].write_text("0.1 0.2")
    text = verify(bundles["all"], "--outputs", *files)
    assert "is nothing that trtexec --exportOutput writes" in text.stdout
    assert {few.returncode, other.returncode, text.returncode} == {1}


@pytest.mark.parametrize("name", ["verify.py", "build_engine.py"])
def test_what_is_carried_can_be_read_by_older_pythons(bundles, name):
    ast.parse((bundles["all"] / name).read_text(), feature_version=(3, 8))


GARBAGE = {
    "nothing": "", "no JSON": "abc", "deep": "[" * 200_000, "a number": "1", "a word": '["a"]',
    "no values": '[{"name": "logits"}]',
    "huge": '[{"name": "logits", "values": [1' + "0" * 400 + "]}]",
    "digits": '[{"name": "logits", "values": [' + "9" * 5000 + "]}]",
    "ragged": '[{"name": "logits", "values": [[1], [1, 2]]}]',
    "a list": '[{"name": [], "values": 1}]',
    "a mapping": '[{"name": "logits", "values": {"a": 1}}]', "null": "null",
    "NaN": '[{"name": "logits", "values": [NaN]}]', "other": '[{"name": "other", "values": [1]}]',
}  # fmt: skip


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_place_of_outputs_is_one_line(text, bundles, tmp_path, capsys, monkeypatch):
    (tmp_path / "out.json").write_text(text)
    monkeypatch.setattr(verify_script, "__file__", str(bundles["all"] / "verify.py"))
    assert verify_script.main(["--outputs", *[str(tmp_path / "out.json")] * 4]) == 1
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith("FAILED  ")


@pytest.mark.parametrize("text", ["", "abc", "[" * 200_000, "{}", "[]", '{"samples": 1}'])
def test_a_damaged_bundle_is_one_line(text, bundles, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "b"
    shutil.copytree(bundles["all"], folder)
    (folder / "bundle.json").write_text(text)
    sums = "".join(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("bundle.json", "samples/outputs.npz")
    )
    (folder / "SHA256SUMS").write_text(sums)
    monkeypatch.setattr(verify_script, "__file__", str(folder / "verify.py"))
    assert verify_script.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAILED  ")
    assert figure.main([str(folder)]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    assert "bundle.json" in line and "Copy the whole bundle again" in line
