"""The answer: the right row, honest ties, and what to beware of."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.report.reproduce import reproduce_command
from bench.report.summary import Answer, summarize
from bench.report.wording import tidy
from bench.results.table import make_table, read_table, write_table


def only(table: pd.DataFrame) -> Answer:
    (answer,) = summarize(table).answers
    return answer


def test_names_the_row_that_loses_least(sweep):
    answer = only(sweep)
    assert answer.best.name == "mse, 64 calibration images, plan float_head"
    assert answer.best.delta == pytest.approx(-0.005125)
    assert answer.best.relative == pytest.approx(-0.005125 / 0.6)
    assert answer.best.speedup == 1.7
    assert answer.n_images == 400
    assert [tie.name for tie in answer.ties] == ["minmax, 64 calibration images, plan float_head"]
    assert "A tie: 1 other configuration is as accurate within the margin of 0.006" in answer.reason
    assert "Decided by: the least loss" in answer.reason
    assert "10 other configurations are proven to lose more" in answer.reason
    assert answer.runner_up is not None
    assert answer.runner_up.name == "minmax, 64 calibration images, plan float_head"
    assert "loses 0.005 mAP50-95" in answer.sentence
    assert "a real loss" in answer.best.verdict


def test_what_matters_most_is_ordered_by_its_range(sweep):
    effects = only(sweep).effects
    assert [effect.axis for effect in effects] == ["calibrator", "plan", "calibration size"]
    assert (effects[0].worst, effects[0].best) == ("entropy2", "mse")
    assert effects[2].spread == pytest.approx(0.2 / 8 - 0.2 / 64)


def test_each_calibrator_shows_its_best_and_its_range_over_plans(sweep):
    ranges = only(sweep).calibrators
    assert [own.calibrator_label for own in ranges] == ["mse", "minmax", "entropy2"]
    entropy = ranges[-1]
    assert (entropy.best.plan_label, entropy.worst_plan.plan_label) == ("float_head", "all")
    assert entropy.best.size == entropy.worst_plan.size == 64


def test_groups_are_answered_apart(row):
    table = make_table(
        [row(model=model, engine=engine) for model in "ab" for engine in ("ov", "ort")]
    )
    groups = [(answer.model, answer.engine) for answer in summarize(table).answers]
    assert groups == [("a", "ov"), ("a", "ort"), ("b", "ov"), ("b", "ort")]


def test_one_row_answers_without_rivals(row):
    answer = only(make_table([row(delta=0.01)]))
    assert answer.runner_up is None
    assert answer.effects == ()
    assert "gains 0.010" in answer.sentence
    assert "a real gain" in answer.best.verdict


def test_where_fp32_finds_nothing_no_run_is_recommended(row):
    """Random weights, or preprocessing that is not the model's: INT8 then "loses nothing"."""
    nothing = {"fp32": 0.0004, "int8": 0.0004, "delta": 0.0}
    blind = [row(model="broken", calibrator=name, **nothing) for name in ("minmax", "mse")]
    summary = summarize(make_table([*blind, row(model="sound")]))
    assert [answer.model for answer in summary.answers] == ["sound"]
    (sentence,) = summary.unanswered
    for said in ("broken on shapes, openvino", "FP32 itself detects nothing (mAP50-95 0.000)",
                 "no run is recommended", "preprocessing", "weights"):  # fmt: skip
        assert said in sentence
    assert not summary.best_keys & {own.run_key for own in blind}
    (warning,) = [w for w in summary.warnings if "in FP32" in w]
    assert warning.startswith("broken on shapes, openvino, reaches only 0.000 mAP50-95 in FP32")


def test_a_weak_fp32_is_answered(row):
    assert only(make_table([row(fp32=0.03, int8=0.02)])).best.fp32 == 0.03


def test_nothing_measured_gives_no_answer(row, skip):
    summary = summarize(make_table([skip(), skip(plan="x", error="too old")]))
    assert summary.answers == ()
    assert summary.skipped == summary.rows == 2
    assert summary.warnings == (
        "1 run of 2 skipped: no depthwise layers.",
        "1 run of 2 skipped: too old.",
    )


def test_a_built_row_has_no_part_in_the_answer(row, built):
    """Not even with numbers that it cannot have."""
    measured = [row(delta=-0.02), row(calibrator="mse", delta=-0.03)]
    lucky = built(engine="openvino", fp32=0.6, int8=0.6, delta=0.0, ci_low=0.0, ci_high=0.0)
    with_built, without = (summarize(make_table(r)) for r in ([*measured, lucky], measured))
    assert with_built.answers == without.answers
    assert (with_built.built, without.built) == (1, 0)


def test_what_was_only_built_is_told_with_its_builder(built):
    rows = [built(), built(calibrator="mse"), built(compute_capability="SM86")]
    summary = summarize(make_table(rows))
    assert summary.answers == ()
    assert (summary.built, summary.skipped) == (3, 0)
    assert [warning.partition(":")[0] for warning in summary.warnings] == [
        "2 runs of 3 built an engine and did not run it",
        "1 run of 3 built an engine and did not run it",
    ]
    assert "tensorrt_rtx 1.7.1.116 (SM89) builds ahead of time" in summary.warnings[0]
    assert "tensorrt_rtx 1.7.1.116 (SM86) builds ahead of time" in summary.warnings[1]


def test_other_runs_that_a_builder_refused_or_warned_of(row):
    by = {"builder": "tensorrt_rtx", "builder_version": "1.7", "compute_capability": "SM86"}
    rows = [
        row(
            **by,
            engine_bytes=4,
            fp32_engine_bytes=8,
            builder_warnings=1,
            builder_warning_text="odd weights.",
        ),
        row(**by, calibrator="mse", delta=-0.05, builder_error="no zero points."),
    ]
    assert summarize(make_table(rows)).warnings == (
        "tensorrt_rtx 1.7 (SM86) refused the Q/DQ file of 1 run: no zero points.",
        "tensorrt_rtx 1.7 (SM86) warned in 1 run: odd weights.",
    )


def test_the_gpus_built_for_name_a_row_only_where_it_has_some(row, built):
    rows = [row(), built(compute_capability="SM86"), built(compute_capability="SM89")]
    assert tidy(make_table(rows))["plan_label"].tolist() == [
        "all",
        "all, for SM86",
        "all, for SM89",
    ]


def test_further_axes_are_named_only_when_they_vary(row):
    table = make_table([row(), row(input_range="declared", delta=-0.001, calibration_seed=3)])
    assert only(table).best.name == (
        "minmax, 64 calibration images, plan all, declared input range"
    )


def test_calibration_images_are_named_by_the_options_of_their_dataset(row):
    rows = [
        row(calibration_fingerprint=print_, dataset_options=options)
        for print_, options in (
            ("db72520eb355290f8ecc", "calibration_domain=day"),
            ("0f", "calibration_domain=night"),
            ("1a", ""),
        )
    ]
    assert tidy(make_table(rows))["plan_label"].tolist() == [
        "all, calibration images calibration_domain=day",
        "all, calibration images calibration_domain=night", "all",
    ]  # fmt: skip
    alike = [row(calibration_fingerprint=print_) for print_ in ("db72520eb355290f8ecc", "0f")]
    assert tidy(make_table(alike))["plan_label"].tolist() == [
        "all, calibration images set 1", "all, calibration images set 2",
    ]  # fmt: skip


def test_options_of_the_engine_name_a_row_where_they_vary(row):
    table = make_table([row(), row(engine_options="streams=4")])
    assert tidy(table)["plan_label"].tolist() == ["all", "all, streams=4"]


def test_what_is_ordinary_goes_without_saying(row):
    rows = [row(), row(calibration_preprocess="stretch"), row(weight_scales="per_tensor max")]
    assert tidy(make_table(rows))["plan_label"].tolist() == [
        "all", "all, calibration fit stretch", "all, weights per_tensor max"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"input_amax": 0.4475}, "minmax clips the network input at 0.448 of 1.000"),
        ({"n_images": 50}, "validated on 50 images only"),
        ({"latency_note": "12 % ran in INT8"}, "on openvino is not reliable: 12 % ran in INT8."),
        (
            {"plan_note": "faster by 3.0% (openvino 1, a laptop)"},
            "was chosen by latency: faster by 3.0% (openvino 1, a laptop). On another machine,",
        ),
        ({"dataset_fingerprint": "f2"}, "mixes rows of 2 different sets of images"),
        ({"hardware": "another"}, "was timed on 2 different machines"),
        ({"device": "NVIDIA L4, driver 550.54"}, "was timed on 2 different machines"),
        ({"images_per_class": 3.5}, "has 3.5 images per class on average: too few for a 95 %"),
        (
            {"classes_evaluated": 40, "n_classes": 1000},
            "was validated on images of 40 of 1,000 classes",
        ),
        ({"calibration_overlap": 8}, "also evaluated (up to 8 of them, 1 run)"),
        ({"metric": "agreement Top-1"}, "the metric is agreement with the FP32 model"),
        ({"delta": None}, "1 run finished without an accuracy"),
        (
            {"planned_layers_in_float": 3},
            "in float although the plan quantizes them, in 1 run.",
        ),
        ({"speedup_fp16": 0.9}, "in FP16 in 1 of 1 run: but what is not INT8 ran in FP32 there."),
        (
            {"speedup_fp16": 0.9, "engine_options": "half=True"},
            "in FP16 in 1 of 1 run: FP16 is the simpler choice there.",
        ),
        (
            {"speedup_fp16": 0.9, "engine": "tensorrt"},
            "in FP16 in 1 of 1 run: FP16 is the simpler choice there.",
        ),
        (
            {"speedup_fp16": 0.9, "engine": "tensorrt", "engine_options": "half=False"},
            "in FP16 in 1 of 1 run: but what is not INT8 ran in FP32 there.",
        ),
    ],
)
def test_beware(row, changes, warning):
    table = make_table([row(), row(**changes)])
    assert any(warning in found for found in summarize(table).warnings)


@pytest.mark.parametrize(
    ("speedup", "pays"), [(1.3, "INT8 is 1.30x as fast"), (1.02, "INT8 is not faster (1.02x)")]
)
def test_fp16_on_the_same_engine_stands_beside_the_answer(row, speedup, pays):
    fp16 = {"fp16": 0.599, "fp16_delta": -0.001, "fp16_ci_low": -0.002, "fp16_ci_high": 0.0}
    answer = only(make_table([row(**fp16, speedup_fp16=speedup)]))
    assert answer.sentence.endswith(
        "FP16 on the same engine: loses 0.001 mAP50-95 "
        f"(95 % interval \N{MINUS SIGN}0.002 to 0.000); {pays}."
    )
    assert "FP16" not in only(make_table([row()])).sentence


def test_a_flawless_table_warns_of_nothing(sweep):
    assert summarize(sweep).warnings == ()


def test_the_same_from_rows_and_from_a_file(row, skip, tmp_path):
    table = make_table([row(), row(calibrator="mse", delta=-0.02), skip()])
    write_table(table, tmp_path)
    from_rows, from_file = summarize(table), summarize(read_table(tmp_path))
    assert from_file.answers[0].sentence == from_rows.answers[0].sentence
    assert from_file.warnings == from_rows.warnings


def test_latencies_of_two_quantized_files_are_not_pooled(row):
    """Nothing but the file's hash distinguishes two engines that others built."""
    rows = [
        row(calibrator="theirs", calibrator_params=f"file={name}", plan="file", placement="",
            calibration_seed=seed, int8_latency_p50_ms=latency + 0.2 * seed, speedup=12 / latency)
        for name, latency in (("aa", 2.0), ("bb", 6.0)) for seed in (0, 1)
    ]  # fmt: skip
    tidied = tidy(make_table(rows)).sort_values(["calibrator_params", "calibration_seed"])
    assert list(tidied["int8_ms"]) == pytest.approx([2.1, 2.1, 6.1, 6.1])
    assert list(tidied["int8_speedup"]) == pytest.approx([6.0, 6.0, 2.0, 2.0])
    assert list(tidied["timed_runs"]) == [2, 2, 2, 2]


def test_reproduce_command_covers_what_was_typed(row):
    rows = [
        row(overrides=f"model=yolov8n calibrator={calibrator} calibration.size={size}")
        for calibrator in ("minmax", "mse")
        for size in (8, 64)
    ]
    assert reproduce_command(make_table(rows)) == (
        "int8bench sweep model=yolov8n calibrator=minmax,mse calibration.size=8,64"
    )


def test_reproduce_command_gives_other_keys_their_own_line(row):
    typed = ("calibrator=minmax", "calibrator=percentile calibrator.percentile=99.9")
    first, second = reproduce_command(
        make_table([row(overrides=overrides) for overrides in typed])
    ).splitlines()
    assert first.endswith("calibrator=minmax")
    assert second.endswith("calibrator=percentile calibrator.percentile=99.9")


def test_reproduce_command_quotes_for_the_shell(row):
    assert "'model=a b;c'" in reproduce_command(make_table([row(overrides="'model=a b;c'")]))


def test_reproduce_command_sets_nothing_of_hydra(row):
    """Whoever copies the command would run what a stranger's table says."""
    evil = "+hydra.callbacks.x._target_=os.system hydra/launcher=x --config-dir=/tmp model=a"
    assert reproduce_command(make_table([row(overrides=evil)])) == ("int8bench sweep model=a")
    assert "quote" not in reproduce_command(make_table([row(overrides="an open 'quote")]))
