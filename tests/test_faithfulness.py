"""The agreement gate: what rounding explains, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bench import faithfulness
from bench.calibrate import find_run_ranges
from bench.compose import build_run
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.errors import EngineError
from bench.evaluation.task import Evidence
from bench.faithfulness import Agreement, check_agreement, limit_db, nudge_scales, reference_engine
from bench.measure import baseline_of, evaluate, task_of, validation_images
from bench.model.onnx_model import with_batch
from bench.quantization.qdq import insert_qdq
from bench.spec import Run
from tests.composing import composed


def load(folder: Any, model: str, **parts: Any) -> tuple[Run, onnx.ModelProto]:
    """A run on 12 drawn scenes, and its Q/DQ file."""
    run = build_run(
        composed(
            f"model={model}", "calibrator=minmax", "calibration.size=4", "engine.threads=1",
            "dataset.validation_images=12", "dataset.calibration_images=4",
            f"sweep.out={folder}/out", f"sweep.cache={folder}/cache",
        )
    )  # fmt: skip
    found = find_run_ranges(run)
    network = run.model.network
    qdq = insert_qdq(network, found.graph, found.points, found.ranges, run.weights)
    return replace(run, **parts), with_batch(qdq, network.input_name, 1)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, onnx.ModelProto]:
    return load(tmp_path_factory.mktemp("detector"), "yolov8n")


def saturate(qdq: onnx.ModelProto) -> onnx.ModelProto:
    """Every weight cut off at 63 of 127."""
    wrong = onnx.ModelProto()
    wrong.CopyFrom(qdq)
    for tensor in wrong.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int8 and values.size > 1:
            cut = np.clip(values, -63, 63).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(cut, tensor.name))
    return wrong


def measured(run: Run, qdq: onnx.ModelProto) -> Evidence[Any]:
    with OpenVino(threads=1).build_exact(qdq) as session:
        return evaluate(run, session, validation_images(run))


def check(run: Run, qdq: onnx.ModelProto, evidence: Evidence[Any]) -> Agreement:
    baseline, _ = baseline_of(run, validation_images(run))
    return check_agreement(run, run.engine, qdq, evidence, baseline.predictions)


def test_what_computes_the_file_is_faithful(detector):
    run, qdq = detector
    found = check(run, qdq, measured(run, qdq))
    assert found.doubt == ""
    assert found.decibels > found.limit_db >= 10
    assert abs(found.difference) < 0.02


def test_what_saturates_is_not_and_the_fix_is_told(detector):
    run, qdq = detector
    evidence = measured(run, saturate(qdq))
    found = check(run, qdq, evidence)
    assert found.decibels < found.limit_db
    assert f"agree with the Q/DQ file computed exactly by {found.decibels:.1f} dB" in found.doubt
    assert "mAP50-95 on the first 12 images is 0." in found.doubt
    by_kernels = replace(run, engine=OpenVino(threads=1, accuracy_by="kernels"))
    assert "Add engine.accuracy_by=emulation" in check(by_kernels, qdq, evidence).doubt
    emulated = replace(run, engine=OpenVino(threads=1, accuracy_by="emulation"))
    assert "One of the two libraries is wrong" in check(emulated, qdq, evidence).doubt


def test_scores_that_are_lost_show_in_the_metric_where_boxes_drown_them(detector):
    """Boxes in pixels are a million times louder than scores: the outputs agree all the same."""
    run, qdq = detector
    right = measured(run, qdq)
    outputs = [[np.concatenate([o[:4], o[4:] * 0]) for o in row] for row in right.outputs]
    task = task_of(run)
    fittings = validation_images(run).fittings
    found = check(
        run,
        qdq,
        Evidence([task.predict(o, f) for o, f in zip(outputs, fittings, strict=True)], outputs),
    )
    assert found.decibels > found.limit_db
    assert "outputs" not in found.doubt
    assert "mAP50-95 on the first 12 images is 0.000" in found.doubt


def test_where_nothing_can_be_compared_the_row_stands(detector, monkeypatch):
    run, qdq = detector
    evidence = measured(run, qdq)

    def refuse(*_: Any) -> Any:
        raise EngineError("no")

    monkeypatch.setattr(OnnxRuntime, "build_exact", refuse)
    assert check(run, qdq, evidence) == Agreement()


def test_implicit_quantization_is_doubted_only_where_it_is_worse(detector, monkeypatch):
    """Such an engine never read the file, and may keep layers in float."""
    run, qdq = detector
    monkeypatch.setattr(faithfulness, "calibrates", lambda engine: True)
    worse = check(run, qdq, measured(run, saturate(qdq)))
    assert worse.limit_db is None
    assert "mAP50-95" in worse.doubt and "dB" not in worse.doubt
    better = check(run, saturate(qdq), measured(run, qdq))
    assert better.difference > 0.1
    assert better.doubt == ""


def test_the_reference_is_another_library():
    assert isinstance(reference_engine(OpenVino()), OnnxRuntime)
    assert isinstance(reference_engine(OnnxRuntime()), OpenVino)


@pytest.mark.parametrize(
    ("rounding", "limit"),
    [(float("inf"), 30.0), (40.0, 30.0), (30.0, 24.0), (12.0, 10.0), (-3.0, 10.0)],
)
def test_the_limit_follows_the_file_s_own_noise_between_a_floor_and_a_ceiling(rounding, limit):
    assert limit_db(rounding) == limit


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
