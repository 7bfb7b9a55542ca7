"""What the report proposes to do next, as commands for the model and data at hand."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest

from bench.__main__ import COMMANDS
from bench.report.next_steps import NextStep
from bench.report.reproduce import measure_command, reproduce_command
from bench.report.summary import summarize
from bench.report.wording import SERIALIZED, tidy
from bench.results.settings import Settings
from bench.results.table import make_table

DATA = "model=yolov8n model.path='my model.onnx' dataset=coco dataset.images=val"


def typed(calibrator: str = "minmax", plan: str = "all", more: str = "") -> str:
    return f"{DATA} calibrator={calibrator} plan={plan} calibration.size=64 {more}".strip()


def steps(table: pd.DataFrame, **settings) -> list[NextStep]:
    (answer,) = summarize(table, settings=Settings(**settings)).answers
    for step in answer.next_steps:
        if step.command:
            program, command, *_ = shlex.split(step.command)
            assert program == "int8bench"
            assert command in COMMANDS
    return list(answer.next_steps)


def about(found: list[NextStep], start: str) -> NextStep:
    return next(step for step in found if step.what.startswith(start))


def starts(found: list[NextStep]) -> list[str]:
    return [step.what.split()[0] for step in found]


def test_first_comes_the_bundle_of_the_sweep_s_folder(row):
    table = make_table([row(overrides=typed(more="sweep.out='results/my sweep'"))])
    assert steps(table)[0].command == "int8bench bundle 'results/my sweep'"
    plain = make_table([row(overrides=typed())])
    assert steps(plain)[0].command == "int8bench bundle results/yolov8n-shapes"


def test_nothing_is_deployed_that_loses_too_much(row):
    table = make_table([row(delta=-0.2, overrides=typed())])
    found = steps(table, max_loss=0.01)
    assert not any("bundle" in step.command for step in found)
    assert "plan=float_head,float_first_and_head" in about(found, "Keep the layers").command
    diagnose = about(found, "See which layers").command
    assert diagnose.startswith("int8bench diagnose model=yolov8n 'model.path=my model.onnx'")
    assert "plan=" not in diagnose


def test_a_sample_of_images_that_leaves_rivals_open_is_enlarged_first(row):
    table = make_table(
        [
            row(delta=-0.010, noise=0.05, overrides=typed(more="evaluation.images=60")),
            row(
                delta=-0.012,
                noise=0.05,
                calibrator="mse",
                overrides=typed("mse", more="evaluation.images=60"),
            ),
        ]
    )
    step = about(steps(table), "Measure on all")
    words = shlex.split(step.command)
    assert "evaluation.images=null" in words
    assert "calibrator=minmax,mse" in words
    assert "model.path=my model.onnx" in words
    assert "1 configuration may be as good" in step.what


def test_where_all_images_are_used_it_says_how_many_would_decide(row):
    table = make_table(
        [
            row(delta=-0.010, noise=0.05, overrides=typed()),
            row(delta=-0.030, noise=0.05, calibrator="mse", overrides=typed("mse")),
        ]
    )
    step = about(steps(table), "Give about")
    assert not step.command
    # Half the interval of the difference is about 0.07, the difference 0.02: 400 * (0.07 / 0.02)^2
    count = int(step.what.split()[2].replace(",", ""))
    assert 3000 < count < 8000


def test_one_calibration_set_is_repeated(row):
    one = steps(make_table([row(overrides=typed())]))
    assert "calibration.seed=0,1,2" in about(one, "Repeat it").command
    rows = [
        row(calibration_seed=seed, overrides=typed(more=f"calibration.seed={seed}"))
        for seed in range(3)
    ]
    assert "Repeat" not in starts(steps(make_table(rows)))


def test_a_clipped_input_is_declared(row):
    table = make_table(
        [
            row(overrides=typed()),
            row(
                calibrator="entropy2",
                delta=-0.2,
                noise=0.01,
                input_amax=0.447,
                overrides=typed("entropy2"),
            ),
        ]
    )
    step = about(steps(table), "Give the input")
    assert "entropy2 clips it at 0.447 of 1.000" in step.what
    assert "input_range=declared" in shlex.split(step.command)
    assert "calibrator=entropy2" in shlex.split(step.command)


def test_after_the_named_plans_comes_the_search(row):
    plans = ("all", "float_head", "float_first_and_head")
    rows = [row(delta=-0.02, plan=plan, overrides=typed(plan=plan)) for plan in plans]
    words = shlex.split(about(steps(make_table(rows)), "Search the layers").command)
    assert "plan=auto" in words
    assert "plan.max_loss=0.01" in words
    rows.append(row(delta=-0.015, plan="auto 99 %", overrides=typed(plan="custom")))
    assert "Search" not in starts(steps(make_table(rows)))


def test_a_quantized_file_is_neither_deployed_nor_planned(row):
    table = make_table([row(plan="file", calibrator="theirs", overrides=typed("quantized_file"))])
    assert starts(steps(table)) == []


@pytest.mark.parametrize("engine_first", [True, False])
def test_no_command_has_the_words_of_a_serialized_engine(row, engine_first):
    """A row may come from a stranger, and loading an engine runs its code."""
    engine, ours = (
        row(
            delta=-0.010 if engine_first else -0.012, noise=0.05, plan="file", calibrator="evil",
            accuracy_by=SERIALIZED,  # the keys of the other row: a sweep could join their values
            overrides=f"judge evil.engine {typed('evil', more='evaluation.images=60')}",
        ),
        row(
            delta=-0.012 if engine_first else -0.010, noise=0.05,
            overrides=typed(more="evaluation.images=60"),
        ),
    )  # fmt: skip
    table = make_table([engine, ours])
    found = about(steps(table), "Measure on all")
    assert bool(found.command) is not engine_first
    assert not any("evil" in step.command for step in steps(table))
    (answer,) = summarize(table).answers
    commands = {result.calibrator_label: result.command for result in answer.results}
    assert commands["evil"] == ""
    assert commands["minmax"].startswith("int8bench model=yolov8n")
    assert "evil" not in reproduce_command(table)


def test_a_row_s_command_leaves_out_what_sets_no_key(row):
    stranger = row(overrides="judge evil.engine --force hydra.run.dir=/x calibrator=minmax")
    (answer,) = summarize(make_table([stranger])).answers
    assert answer.best.command == "int8bench calibrator=minmax"


def test_the_last_step_is_the_target(row):
    assert steps(make_table([row(overrides=typed())]))[-1].command.startswith("int8bench kit ")


def test_rows_of_a_kit_propose_nothing(row):
    assert steps(make_table([row(overrides=typed(), measured_on="orin")])) == []


def test_rows_whose_words_are_unknown_get_no_broken_command(row):
    for step in steps(make_table([row(overrides="")])):
        assert not step.command


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (
            "model=yolov8n calibrator=minmax,entropy2 sweep.out=results/yolo",
            ["model=yolov8n", "model.path=my model.onnx", "dataset=coco", "dataset.images=val",
             "calibrator=minmax,entropy2"],
        ),
        (
            "calibrator=minmax dataset.images=other",
            ["model=yolov8n", "model.path=my model.onnx", "dataset=coco", "calibrator=minmax",
             "dataset.images=other"],
        ),
        ("model=resnet18 plan=all", ["model=resnet18", "plan=all"]),
    ],
)  # fmt: skip
def test_a_claim_is_measured_on_this_model(row, measure, words):
    command = measure_command(tidy(make_table([row(overrides=typed())])), measure)
    assert shlex.split(command) == ["int8bench", "sweep", *words]
