"""The evidence beside the rows: whole files or none, the same after a round trip, kept once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench.errors import DataError
from bench.results.histograms import HistogramStore, TensorHistogram


def histogram(name: str, low: float, high: float, *counts: int) -> TensorHistogram:
    return TensorHistogram(name, low, high, sum(counts), np.array(counts, np.int64))


SEEN = [
    histogram("images", 0.0, 1.0, 5, 0, 7, 1),
    histogram("/model.0/act/Mul_output_0", -8.0, 2.0, 2**40, 1, 0, 1),
    histogram("never fired", 0.0, 0.0, 9, 0, 0, 0),
]


@pytest.fixture
def store(tmp_path) -> HistogramStore:
    return HistogramStore(tmp_path / "sweep")


def test_histograms_come_back_in_their_order(store):
    store.add_histograms("s", lambda: SEEN)
    found = store.histograms("s")
    assert list(found) == [seen.name for seen in SEEN]
    for seen in SEEN:
        again = found[seen.name]
        assert (again.low, again.high, again.count) == (seen.low, seen.high, seen.count)
        np.testing.assert_array_equal(again.counts, seen.counts)
        assert again.counts.dtype == np.int64


def test_the_last_bin_is_that_of_the_largest_magnitude():
    wide = SEEN[1]
    assert wide.amax == 8.0
    assert wide.width * (wide.counts.size - 1) == wide.amax
    assert SEEN[2].amax == SEEN[2].width == 0.0


def test_a_calibration_set_is_kept_once(store):
    store.add_histograms("s", lambda: SEEN)
    before = store.histograms_path("s").stat().st_mtime_ns
    store.add_histograms("s", lambda: pytest.fail("made again"))
    assert store.histograms_path("s").stat().st_mtime_ns == before


def test_ranges_come_back_from_what_tensorrt_takes(store):
    store.add_ranges("k", json.dumps({"images": [-0.1, 0.1], "b: c": [-3.0, 3.0]}))
    assert store.ranges("k") == {"images": 0.1, "b: c": 3.0}


def test_rules_come_back_and_most_runs_have_none(store):
    assert store.rules("k") == {}
    store.add_ranges("k", json.dumps({"images": [-0.1, 0.1], "b: c": [-3.0, 3.0]}))
    assert store.rules("k") == {}  # as of every run before there were rules
    store.add_rules("k", {"images": "minmax", "b: c": "mse"})
    assert store.rules("k") == {"images": "minmax", "b: c": "mse"}
    assert store.ranges("k") == {"images": 0.1, "b: c": 3.0}


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe"])
def test_a_file_of_no_rules_is_named_in_one_line(store, content):
    store.add_rules("x", {})
    path = store.ranges_path("x").with_suffix(".rules.json")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ranges/x\.rules\.json holds no rules"):
        store.rules("x")


def test_a_run_is_explained_only_by_both_of_its_files(store):
    assert not store.has("k", "s")
    store.add_histograms("s", lambda: SEEN)
    assert not store.has("k", "s")
    store.add_ranges("k", "{}")
    assert store.has("k", "s")
    assert not store.has("k", "other")
    assert not store.has("k", "")  # a row of before there were histograms


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"[]", b'{"images": 3}', b"\xff\xfe"])
def test_a_foreign_file_is_named_in_one_line(store, content):
    reads = [(store.histograms_path("x"), store.histograms), (store.ranges_path("x"), store.ranges)]
    for path, read in reads:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read("x")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
