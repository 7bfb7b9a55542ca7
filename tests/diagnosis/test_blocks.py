"""Blocks of layers: every layer is in one, in the order of the network."""

from __future__ import annotations

import pytest

from bench.diagnosis.blocks import FEWEST, MOST, group_layers

YOLO = [f"/model.{i}/cv{j}/conv/Conv" for i in range(23) for j in (1, 2)]
HEAD = [
    f"{part}.stage{i}.{j}.conv.Conv" for part in ("backbone", "head") for i in range(4)
    for j in range(9)
]  # fmt: skip
NUMBERED = [f"Conv_{i}" for i in range(0, 240, 2)]


@pytest.mark.parametrize("names", [YOLO, HEAD, NUMBERED, NUMBERED[:7], NUMBERED[:1], []])
def test_every_layer_is_in_one_block(names):
    blocks = group_layers(names, {})
    assert sorted(name for layers in blocks.values() for name in layers) == sorted(names)
    assert min(FEWEST, len(names)) <= len(blocks) <= MOST


def test_names_are_cut_at_the_depth_that_gives_enough_blocks():
    assert list(group_layers(YOLO, {}))[:2] == ["/model.0", "/model.1"]
    assert list(group_layers(HEAD, {}))[:2] == ["backbone.stage0", "backbone.stage1"]
    assert "head.stage3" in group_layers(HEAD, {})


def test_a_layer_outside_of_all_is_in_a_block_of_its_own():
    blocks = group_layers([*YOLO[:20], "/Gemm"], {})
    assert blocks["/"] == ("/Gemm",)


def test_numbered_layers_are_cut_where_few_tensors_cross():
    crossing = dict.fromkeys(NUMBERED, 4) | dict.fromkeys(NUMBERED[13::10], 1)
    blocks = group_layers(NUMBERED, crossing)
    starts = [layers[0] for layers in list(blocks.values())[1:]]
    assert all(crossing[start] == 1 for start in starts)
    assert next(iter(blocks)) == f"Conv_0 to {next(iter(blocks.values()))[-1]}"
