"""Noise at the outputs: energies of their parts, and divergences by the textbook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.diagnosis import noise as noise_module
from bench.diagnosis.noise import Noise, NoiseMeter
from bench.model.heads.classifier import Classifier
from bench.model.heads.yolov8 import YoloV8Head
from bench.model.heads.yolox import YoloXHead


@pytest.fixture
def normal() -> Callable[..., Any]:
    """``normal(*shape)``: random values around 0."""
    rng = np.random.default_rng(0)
    return lambda *shape: rng.standard_normal(shape).astype(np.float32)


def measure(head: Any, reference: list[list[Any]], changed: list[list[Any]]) -> Noise:
    meter, noise = NoiseMeter(head, reference), Noise()
    for image, outputs in enumerate(changed):
        meter.add(image, outputs, noise)
    return noise


def softmax(x: Any) -> Any:
    e = np.exp(x.astype(np.float64) - x.max())
    return e / e.sum()


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def kl(p: Any, q: Any) -> float:
    p, q = p.astype(np.float64), q.astype(np.float64)
    return float((p * np.log(p / q)).sum())


def scores(x: Any) -> Any:
    """Of a detector's decoded output: boxes as they are, scores in [0, 1]."""
    x = x.copy()
    x[:, 4:] = sigmoid(x[:, 4:])
    return x


# --- energies -------------------------------------------------------------------------------------


def test_energies_of_parts_are_summed_over_images(normal):
    reference = [[scores(normal(1, 7, 20))] for _ in range(3)]
    changed = [[one + 0.1 * scores(normal(1, 7, 20))] for (one,) in reference]
    actual = measure(YoloV8Head(), reference, changed)
    assert actual.images == 3
    for part, rows in (("boxes", slice(0, 4)), ("scores", slice(4, 7))):
        known = np.array([one[0, rows] for (one,) in reference], np.float64)
        other = np.array([one[0, rows] for (one,) in changed], np.float64)
        signal, noise = (known**2).sum(), ((other - known) ** 2).sum()
        np.testing.assert_allclose(actual.energies[part], [[signal, noise]], rtol=1e-5)
        assert actual.sqnr_db[part] == pytest.approx(10 * np.log10(signal / noise), rel=1e-5)
    shares = [values[0, 1] / values[0, 0] for values in actual.energies.values()]
    assert actual.share == pytest.approx(np.mean(shares))


def test_a_part_is_as_good_as_its_worst_array_and_shares_are_averaged(normal):
    """YOLOX's raw maps: two arrays for each part."""
    reference = [[normal(1, 7, 4, 4), 100 * normal(1, 7, 2, 2)]]
    changed = [[one.copy() for one in reference[0]]]
    changed[0][0][:, :4] *= 1.1  # share 0.01
    changed[0][1][:, :4] *= 1.01  # 0.0001, of far larger values
    actual = measure(YoloXHead(strides=(2, 4)), reference, changed)
    np.testing.assert_allclose(
        [values[:, 1] / values[:, 0] for values in actual.energies.values()],
        [[0.01, 0.0001], [0, 0]],
        rtol=1e-3,
    )
    assert actual.sqnr_db == {"boxes": pytest.approx(20, abs=0.01), "scores": np.inf}
    assert actual.share == pytest.approx((0.01 + 0.0001) / 4, rel=1e-3)


def test_equal_outputs_have_no_noise(normal):
    reference = [[normal(1, 5)], [normal(1, 5)]]
    actual = measure(Classifier(), reference, [[one.copy() for one in each] for each in reference])
    assert (actual.share, actual.kl, actual.images) == (0, 0, 2)
    assert actual.sqnr_db == {"logits": np.inf}


def test_noise_on_an_array_of_zeros_is_infinite_and_none_is_none():
    silent = [[np.zeros((1, 5), np.float32)]]
    assert measure(Classifier(), silent, silent).share == 0
    actual = measure(Classifier(), silent, [[np.float32([[0, 0, 1e-3, 0, 0]])]])
    assert actual.share == np.inf
    assert actual.sqnr_db == {"logits": -np.inf}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["boxes", "scores"])
@pytest.mark.filterwarnings("error")
def test_outputs_that_are_not_numbers_are_infinitely_noisy(value, where, normal):
    """In one image of three, and whatever the signal's energy is."""
    reference = [[scores(30 * normal(1, 7, 20))] for _ in range(3)]
    changed = [[one.copy()] for (one,) in reference]
    changed[1][0][0, 0 if where == "boxes" else 5, 3] = value
    actual = measure(YoloV8Head(), reference, changed)
    assert actual.share == np.inf
    assert actual.sqnr_db == {
        part: -np.inf if part == where else np.inf for part in ("boxes", "scores")
    }


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("error")
def test_classes_that_are_not_numbers_diverge_infinitely(value, normal):
    reference = [[normal(1, 5)], [normal(1, 5)]]
    changed = [[one.copy()] for (one,) in reference]
    changed[0][0][0, 2] = value
    actual = measure(Classifier(), reference, changed)
    assert (actual.share, actual.kl) == (np.inf, np.inf)
    reference[0][0][0, 1] = np.nan  # nor is a comparison with such a reference good
    assert measure(Classifier(), reference, changed).share == np.inf


@pytest.mark.parametrize("scale", [1e-25, 1e25])
@pytest.mark.filterwarnings("error")
def test_energies_of_very_small_and_very_large_outputs(scale, normal):
    """Squares of float32 would be 0 or infinite."""
    reference = np.float32(scale) * normal(1, 50)
    actual = measure(Classifier(), [[reference]], [[np.float32(1.5) * reference]])
    assert actual.share == pytest.approx(0.25, rel=1e-4)


# --- divergences ----------------------------------------------------------------------------------


def test_divergence_of_logits(normal):
    reference = [[3 * normal(1, 10)] for _ in range(3)]
    changed = [[one + normal(1, 10)] for (one,) in reference]
    actual = measure(Classifier(), reference, changed)
    pairs = zip(reference, changed, strict=True)
    each = [kl(softmax(p), softmax(q)) for (p,), (q,) in pairs]
    assert actual.kl == pytest.approx(np.mean(each), rel=1e-6)
    assert min(each) > 0


def test_logits_are_known_by_the_values_in_fp32(normal):
    """What a changed output looks like does not count: it may be a distribution by chance."""
    logits, spread = normal(1, 4), np.float32([[0.1, 0.2, 0.3, 0.4]])
    actual = measure(Classifier(), [[logits]], [[spread]])
    assert actual.kl == pytest.approx(kl(softmax(logits), softmax(spread)), rel=1e-6)
    actual = measure(Classifier(), [[spread]], [[2 * spread]])  # its sum is 2
    assert actual.kl == pytest.approx(0, abs=1e-12)
    one_of_two = [[np.float32([[0.3, 0.7]])], [np.float32([[-1, 2]])]]
    changed = [[np.float32([[0.7, 0.3]])], [np.float32([[-1, 2]])]]
    actual = measure(Classifier(), one_of_two, changed)
    assert actual.kl == pytest.approx(
        kl(softmax(np.float32([0.3, 0.7])), softmax(np.float32([0.7, 0.3]))) / 2, rel=1e-6
    )


def test_divergence_of_probabilities(normal):
    reference, changed = (softmax(3 * normal(1, 10)).astype(np.float32) for _ in range(2))
    actual = measure(Classifier(), [[reference]], [[changed]])
    assert actual.kl == pytest.approx(kl(reference, changed), rel=1e-4)
    certain, wrong = np.float32([[1, 0, 0]]), np.float32([[0, 0, 1]])
    actual = measure(Classifier(), [[certain]], [[wrong]])
    assert actual.kl == pytest.approx(-np.log(1e-9), rel=1e-3)


def binary(p: Any, q: Any) -> float:
    return kl(p, q) + kl(1 - p, 1 - q)


def test_divergence_of_scores(normal):
    reference, changed = (scores(normal(1, 7, 20)) for _ in range(2))
    actual = measure(YoloV8Head(), [[reference]], [[changed]])
    p, q = (x[0, 4:].astype(np.float64) for x in (reference, changed))
    assert actual.kl == pytest.approx(binary(p, q), rel=1e-6)


def test_divergence_of_raw_scores(normal):
    reference, changed = ([normal(1, 7, 4, 4), normal(1, 7, 2, 2)] for _ in range(2))
    actual = measure(YoloXHead(strides=(2, 4)), [reference], [changed])
    each = [
        binary(sigmoid(p[0, 4:]), sigmoid(q[0, 4:]))
        for p, q in zip(reference, changed, strict=True)
    ]
    assert actual.kl == pytest.approx(sum(each), rel=1e-6)


def test_divergence_of_the_scores_that_are_highest_in_fp32(monkeypatch, normal):
    monkeypatch.setattr(noise_module, "STRONGEST", 5)
    reference, changed = (scores(normal(1, 7, 20)) for _ in range(2))
    actual = measure(YoloV8Head(), [[reference]], [[changed]])
    p, q = (x[0, 4:].reshape(-1).astype(np.float64) for x in (reference, changed))
    best = np.argsort(-p)[:5]
    assert actual.kl == pytest.approx(binary(p[best], q[best]), rel=1e-6)


@pytest.mark.parametrize("low", [0, 1])
def test_scores_of_zero_and_one_diverge_by_a_finite_number(low):
    reference = np.full((1, 5, 3), low, np.float32)
    changed = 1 - reference
    actual = measure(YoloV8Head(), [[reference]], [[changed]])
    assert actual.kl == pytest.approx(3 * -np.log(1e-9), rel=1e-3)


def test_nothing_was_added():
    assert Noise().kl == 0
    assert Noise().sqnr_db == {}
