"""The worst layers and the advice, on diagnoses in which the cause is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.diagnosis.advice import advise, first_jump, worst_layers
from bench.results.diagnosis import Effect, LayerDiagnosis, RuleError, TensorDiagnosis
from bench.results.noise_shares import gain_db, noise_shares


def effects(noise: float | None, other: float | None = None) -> dict[str, Effect]:
    return {
        "calibration": Effect({"logits": 10.0}, noise, 0.1),
        "other": Effect({"logits": 10.0}, noise if other is None else other, 0.1),
    }


def layer(name: str, noise: float | None, **changes: Any) -> LayerDiagnosis:
    usual = LayerDiagnosis(
        name, "Conv", 100, 0.1, False, "block", (f"{name}_in",),
        effects(noise), effects(0.0), effects(noise), effects(0.5), 2.0,
    )  # fmt: skip
    return replace(usual, **changes)


def tensor(name: str, depth: float | None = 30.0, amax: float = 1.0, **rules: RuleError) -> Any:
    return TensorDiagnosis(
        name, "", -1.0, 4.0, amax, rules, depth, 0.0, 0.1, 0, 8, 0
    )  # fmt: skip


GOOD, CLIPPED, COARSE = RuleError(1, 1e-4, 1e-4), RuleError(1, 0.2, 1e-4), RuleError(4, 0, 0.3)
QUIET = [layer(f"quiet{i}", 0.001) for i in range(9)]


def said(layers: Any, tensors: Any = (), all_int8: Any = None, declared: Any = None) -> str:
    return "\n".join(
        advise(layers, tensors, all_int8 or effects(1.0), "minmax", ("images", declared))
    )


def test_the_fewest_layers_that_make_most_of_the_noise():
    layers = [*QUIET, layer("bad", 0.5), layer("worse", 0.9)]
    assert worst_layers(layers) == ("worse", "bad")
    assert worst_layers(QUIET)[:2] == ("quiet0", "quiet1")
    assert len(worst_layers([layer(str(i), 1.0) for i in range(99)])) == 10
    assert worst_layers([layer("a", 0.0)]) == ()
    assert noise_shares(layers)["worse"] == pytest.approx(0.9 / 1.409)


def test_outputs_that_are_not_finite_are_the_worst():
    layers = [*QUIET, layer("endless", None)]
    assert worst_layers(layers) == ("endless",)
    assert "endless" in said(layers)
    assert gain_db(layers[-1], effects(None)) is None


def test_clipping_and_another_rule_are_called_by_their_names():
    bad = layer("bad", 0.9)
    text = said([*QUIET, bad], [tensor("bad_in", minmax=CLIPPED, mse=GOOD)])
    assert "one layer causes 99%" in text
    assert (
        ": the noise comes from its activations; bad_in is clipped at 1 of 4 (20.00% of its energy)"
        in text
    )
    assert "calibrator=mse has less than half the error of minmax on bad_in." in text
    assert "In float, it takes 10.00% of the MACs out of INT8; bad alone" in text
    assert "gains 3.0 dB" in text


def test_coarse_steps_and_wide_channels():
    bad = layer("bad", 0.9, depthwise=True, channel_spread=40.0)
    text = said([*QUIET, bad], [tensor("bad_in", minmax=COARSE)])
    assert "bad (depthwise Conv" in text
    assert "gives steps too coarse" in text
    assert "40 times that of the median channel" in text
    assert "calibrator=" not in text


def test_depthwise_layers_that_make_most_of_it():
    layers = [*QUIET, *(layer(f"dw{i}", 0.1, depthwise=True, mac_share=0.01) for i in range(20))]
    text = said(layers)
    assert "the worst 10 of 29 cause 50% of" in text
    assert "The 20 depthwise layers cause 100% of the noise with 20.00% of the MACs: plan=" in text
    assert "depthwise layers cause" not in said(QUIET)


def test_weights_are_called_by_their_name():
    bad = layer("bad", 0.9, weights_only=effects(0.8), activations_only=effects(0.01))
    assert "bad (Conv, 10.00% of the MACs): the noise comes from its weights." in said(
        [*QUIET, bad]
    )


def test_a_clipped_input():
    text = said([layer("bad", 0.9)], [tensor("images", amax=0.4)], declared=1.0)
    assert "input is clipped at 0.4 of 1 (10.0% of its values are larger): add inp" in text
    assert "input" not in said([layer("a", 0.9)], [tensor("images", amax=0.99)], declared=1.0)
    assert "input" not in said([layer("a", 0.9)], [tensor("images", amax=0.4)])


def test_sets_that_disagree():
    assert "lose 10.0 dB more" in said([layer("a", 1.0)], all_int8=effects(0.1, 1.0))
    assert "dB more" not in said([layer("a", 1.0)], all_int8=effects(0.1, 0.11))


def test_nothing_to_say():
    assert "adds no noise" in said([layer("a", 0.0)])


@pytest.mark.parametrize(
    ("depths", "jump"),
    [
        ([None, 40.0, 35.0, 33.0, 12.0, 5.0], "layer4"),
        ([None, 20.0, 19.0], "layer1"),
        ([None, 40.0, 34.0, 30.0, 27.0], None),
        ([], None),
    ],
)
def test_the_first_jump_along_the_depth(depths, jump):
    tensors = [tensor(str(i), depth) for i, depth in enumerate(depths)]
    before = {str(i): f"layer{i}" for i in range(1, len(depths))}
    assert first_jump(tensors, before) == jump
