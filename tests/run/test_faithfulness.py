"""The agreement gate: what rounding explains, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bench.cli.compose import build_run
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.errors import EngineError
from bench.evaluation.task import Evidence
from bench.results.store import RowStore
from bench.run import faithfulness, gather
from bench.run.execute import execute
from bench.run.faithfulness import (
    Agreement,
    channel_energies,
    check_agreement,
    nudge_scales,
    reference_engines,
)
from bench.run.measure import baseline_of, evaluate, fp32_model, task_of, validation_images
from bench.run.ranges import find_run_ranges, quantize
from bench.run.spec import Run
from tests.composing import composed
from tests.wrong_engines import Hopeless, change_constants, clip_at


def load(folder: Any, model: str, **parts: Any) -> tuple[Run, onnx.ModelProto]:
    """A run on 8 drawn scenes, and its Q/DQ file."""
    run = build_run(
        composed(
            f"model={model}", "calibrator=minmax", "calibration.size=4", "engine.threads=1",
            "dataset.validation_images=8", "dataset.calibration_images=4",
            f"sweep.out={folder}/out", f"sweep.cache={folder}/cache",
        )
    )  # fmt: skip
    return replace(run, **parts), quantize(run, find_run_ranges(run))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, onnx.ModelProto]:
    return load(tmp_path_factory.mktemp("detector"), "yolov8n")


def measured(run: Run, qdq: onnx.ModelProto) -> Evidence[Any]:
    with OpenVino(threads=1).build_exact(qdq) as session:
        return evaluate(run, session, validation_images(run))


def check(run: Run, qdq: onnx.ModelProto, evidence: Evidence[Any]) -> Agreement:
    baseline, _ = baseline_of(run, validation_images(run))
    return check_agreement(run, run.engine, qdq, evidence, baseline)


def test_what_computes_the_file_is_faithful(detector):
    run, qdq = detector
    found = check(run, qdq, measured(run, qdq))
    assert found.doubt == ""
    assert found.decibels > found.limit_db > 20
    assert abs(found.difference) < 0.03


def test_a_sample_is_compared_on_its_own_first_images(detector, monkeypatch):
    run, qdq = detector
    sample = replace(run, measurement=replace(run.measurement, images=6))
    assert sample.validation_indices[:4] != (0, 1, 2, 3)
    monkeypatch.setattr(gather, "FIRST_IMAGES", 4)  # fewer than are evaluated
    found = check(sample, qdq, measured(sample, qdq))
    assert found.doubt == ""
    assert found.decibels > found.limit_db > 20
    assert abs(found.difference) < 0.03


@pytest.mark.parametrize("model", ["resnet18", "mobilenetv2"])
def test_so_are_classifiers(model, tmp_path):
    run, qdq = load(tmp_path, model)
    assert check(run, qdq, measured(run, qdq)).doubt == ""


def test_what_saturates_is_not_and_the_fix_is_told(detector):
    run, qdq = detector
    evidence = measured(run, change_constants(qdq, clip_at(63)))
    found = check(run, qdq, evidence)
    assert found.decibels < found.limit_db
    assert "dB further from those of the file than rounding explains" in found.doubt
    assert "mAP50-95 on the first 8 images is 0." in found.doubt
    by_kernels = replace(run, engine=OpenVino(threads=1, accuracy_by="kernels"))
    assert "Add engine.accuracy_by=emulation" in check(by_kernels, qdq, evidence).doubt
    emulated = replace(run, engine=OpenVino(threads=1, accuracy_by="emulation"))
    assert "One of the two libraries is wrong" in check(emulated, qdq, evidence).doubt


def test_an_engine_that_ignores_every_quantization_is_not(detector):
    """Its metric is even better."""
    run, qdq = detector
    with OpenVino(threads=1).build(fp32_model(run)) as session:
        fp32 = evaluate(run, session, validation_images(run))
    assert "further from those of the file than rounding explains" in check(run, qdq, fp32).doubt


def test_scores_that_boxes_drown_are_seen(detector):
    """Of one joined output they are a millionth of the energy."""
    run, qdq = detector
    found = check(run, qdq, measured(run, change_constants(qdq, clip_at(40), "cv3")))
    assert "further from those of the file than rounding explains" in found.doubt
    right = measured(run, qdq)
    outputs = [[np.concatenate([o[:4], o[4:] * 0]) for o in row] for row in right.outputs]
    task, fittings = task_of(run), validation_images(run).fittings
    predictions = [task.predict(o, f) for o, f in zip(outputs, fittings, strict=True)]
    found = check(run, qdq, Evidence(predictions, outputs))
    assert "mAP50-95 on the first 8 images is 0.000" in found.doubt


def test_what_is_no_number_is_not(detector):
    run, qdq = detector
    right = measured(run, qdq)
    outputs = [[np.full_like(o, np.nan) for o in row] for row in right.outputs]
    assert "further from" in check(run, qdq, Evidence(right.predictions, outputs)).doubt


def test_an_engine_that_computes_nothing_exactly_makes_a_skipped_row(detector, tmp_path):
    run, _ = detector
    row = execute(replace(run, engine=Hopeless(threads=1), cache=tmp_path), RowStore(tmp_path))
    assert (row.status, row.int8) == ("skipped", None)
    assert "computes a Q/DQ file wrongly on this processor, in float too" in row.error


def test_where_one_library_refuses_the_other_is_taken(detector, monkeypatch):
    run, qdq = detector
    evidence = measured(run, qdq)

    def refuse(*_: Any) -> Any:
        raise EngineError("no")

    monkeypatch.setattr(OnnxRuntime, "build_exact", refuse)
    alone = check(run, qdq, evidence)
    assert alone.decibels == 100  # compared with the very same computation
    assert alone.doubt == ""
    monkeypatch.setattr(OpenVino, "build_exact", refuse)
    assert check(run, qdq, evidence) == Agreement()  # said by the report


def test_implicit_quantization_is_doubted_only_where_it_is_further_from_fp32(detector, monkeypatch):
    """Such an engine never read the file, and may leave layers in float."""
    run, qdq = detector
    monkeypatch.setattr(faithfulness, "calibrates", lambda engine: True)
    worse = check(run, qdq, measured(run, change_constants(qdq, clip_at(63))))
    assert worse.limit_db is None
    assert "further from FP32 than those of the file" in worse.doubt
    with OpenVino(threads=1).build(fp32_model(run)) as session:
        fp32 = evaluate(run, session, validation_images(run))
    assert check(run, qdq, fp32).doubt == ""
    assert check(run, qdq, measured(run, qdq)).doubt == ""


def test_fp16_of_an_engine_is_rounding_too(detector, monkeypatch):
    run, qdq = detector
    coarse = measured(run, nudge_scales(qdq, 9, 2.0**-11))

    class Half(OpenVino):
        half = True

    assert check(replace(run, engine=Half(threads=1)), qdq, coarse).doubt == ""


def test_the_reference_is_another_library():
    first, last = reference_engines(OpenVino())
    assert (type(first), type(last)) == (OnnxRuntime, OpenVino)
    assert isinstance(reference_engines(OnnxRuntime())[0], OpenVino)


def test_channels_are_the_shorter_of_two_axes_or_the_first_of_more():
    joined, raw, logits = np.ones((6, 40)), np.ones((7, 4, 4)), np.full(5, 2.0)
    for output in (joined, joined.T):
        np.testing.assert_array_equal(channel_energies([[output]] * 2), [80.0] * 6)
    np.testing.assert_array_equal(channel_energies([[raw, logits]]), [16.0] * 7 + [20.0])


def test_only_the_scales_of_activations_are_nudged_and_by_a_millionth(detector):
    _, qdq = detector
    before, after = (
        {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
        for proto in (qdq, nudge_scales(qdq))
    )
    scales = {n.input[1] for n in qdq.graph.node if n.op_type == "QuantizeLinear"}
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == scales
    ratios = np.array([float(after[name]) / float(before[name]) - 1 for name in scales])
    assert (np.abs(np.abs(ratios) - 1e-6) < 1.5e-7).all()
    assert (ratios > 0).any() and (ratios < 0).any()
