"""Losses come back as they were kept, or in one line not at all."""

from __future__ import annotations

import json
import math

import pytest

from bench.errors import DataError
from bench.results.error_analysis import Box, Example, Losses, LossStore, Part, View

BOXES = (Box((0.1, 0.2, 0.3, 0.4), "cat", "right", 0.9), Box((0, 0, 1, 1), "dog", "missed"))
LOSSES = Losses(
    "object", 3, 1, 0.25,
    classes=(Part("cat", 30, 0.5, 0.4, -0.2, 0.0, 9), Part("dog", 2, 0.5, 0.25)),
    sizes=(Part("small", 7, 0.5, 0.375),),
    examples=(Example("a.png", "f00d", 64, 48, "1 cat", View("all", BOXES), View("nothing")),),
)  # fmt: skip


def test_what_is_kept_comes_back(tmp_path):
    store = LossStore(tmp_path)
    assert not store.has("key")
    store.add("key", LOSSES)
    assert store.has("key")
    assert store.load("key") == LOSSES


def test_nan_survives_json(tmp_path):
    store = LossStore(tmp_path)
    store.add("key", Losses("image", 0, 0, classes=(Part("cat", 3, 0.5, math.nan),)))
    json.loads(store.path("key").read_text(), parse_constant=pytest.fail)
    (part,) = store.load("key").classes
    assert math.isnan(part.int8)
    assert part.fp32 == 0.5


def test_a_picture_is_made_once_and_may_be_gone(tmp_path):
    store = LossStore(tmp_path)
    store.add_picture("f00d", lambda: b"first")
    store.add_picture("f00d", lambda: pytest.fail("made again"))
    assert store.picture("f00d") == b"first"
    assert store.picture("other") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"classes": 3}', '{"unit": "object"'])
def test_a_file_of_something_else_is_one_line(tmp_path, content):
    store = LossStore(tmp_path)
    store.add("key", LOSSES)
    store.path("key").write_text(content)
    with pytest.raises(DataError, match="does not say where a run loses") as caught:
        store.load("key")
    assert str(store.path("key")) in str(caught.value)
    assert "\n" not in str(caught.value)
