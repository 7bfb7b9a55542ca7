"""The sweeper composes every value once before the first run, not every combination."""

from __future__ import annotations

import itertools

from hydra_plugins.int8bench_sweeper import one_of_each


def test_few_combinations_have_every_value() -> None:
    keys = {"model": 20, "calibrator": 8, "size": 6, "plan": 10}
    words = [[f"{key}={i}" for i in range(n)] for key, n in keys.items()]
    batch = [list(combination) for combination in itertools.product(*words)]
    chosen = one_of_each(batch)
    assert len(chosen) == 1 + sum(n - 1 for n in keys.values())
    assert {word for one in chosen for word in one} == {word for own in words for word in own}
    # Every value of a key stands beside the first values of the others.
    assert all(sum(not word.endswith("=0") for word in one) <= 1 for one in chosen)


def test_a_single_run_is_composed() -> None:
    assert one_of_each([["a=1"]]) == [["a=1"]]
    assert one_of_each([[]]) == [[]]
