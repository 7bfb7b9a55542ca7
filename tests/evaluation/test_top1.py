from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.errors import DataError, ModelError
from bench.evaluation.top1 import evaluate_labels

property_test = settings(deadline=None, derandomize=True)


def test_first_and_first_five_guesses():
    logits = np.array([[9, 1, 2, 3, 4, 5, 6]] * 4, dtype=np.float32)
    score = evaluate_labels(np.array([0, 6, 3, 1]), logits)  # ranks 1, 2, 5, 7
    assert score.correct.tolist() == [True, False, False, False]
    assert (score.top1, score.top5) == (0.25, 0.75)


def test_of_equal_logits_the_lower_class_ranks_first():
    logits = np.zeros((7, 7), dtype=np.float32)
    score = evaluate_labels(np.arange(7), logits)
    assert score.correct.tolist() == [True] + [False] * 6
    assert score.top5 == 5 / 7


@property_test
@given(
    logits=hnp.arrays(np.float32, (9, 8), elements=st.integers(-3, 3).map(float)),
    labels=hnp.arrays(np.int64, 9, elements=st.integers(0, 7)),
)
def test_correct_is_what_argmax_says_and_top5_a_stable_sort(logits, labels):
    score = evaluate_labels(labels, logits)
    assert np.array_equal(score.correct, logits.argmax(axis=1) == labels)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    assert score.top5 == (best == labels[:, None]).any(axis=1).mean()
    assert 0 <= score.top1 <= score.top5 <= 1


@pytest.mark.parametrize("n_classes", [1, 2, 5])
def test_five_guesses_among_five_classes_say_nothing(n_classes):
    score = evaluate_labels(np.zeros(2, dtype=np.int64), np.ones((2, n_classes), dtype=np.float32))
    assert score.top1 == 1 and math.isnan(score.top5)


def test_a_row_with_nan_is_wrong():
    logits = np.tile(np.arange(6, dtype=np.float32), (3, 1))
    logits[1, 0] = math.nan
    logits[2] = math.nan
    score = evaluate_labels(np.array([5, 5, 0]), logits)
    assert score.correct.tolist() == [True, False, False]
    assert score.top5 == score.top1 == 1 / 3


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="labels of shape"):
        evaluate_labels(np.zeros(3, dtype=np.int64), np.zeros((2, 4)))
    with pytest.raises(DataError, match="no image"):
        evaluate_labels(np.zeros(0, dtype=np.int64), np.zeros((0, 4)))
    with pytest.raises(ModelError, match="4 logits"):
        evaluate_labels(np.array([4]), np.zeros((1, 4)))
