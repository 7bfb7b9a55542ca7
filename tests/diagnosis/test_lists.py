"""Lists to paste: each tool's reading of its option gives the layers back."""

from __future__ import annotations

import ast
import re
import shlex

import pytest

from bench.diagnosis.lists import lists_of
from tests.composing import composed

USUAL = ["/model.0/conv/Conv", "/model.22/cv3.0/cv3.0.0/conv/Conv", "Conv_41"]
UNUSUAL = ["it's a layer", 'quoted "twice"', "cost $HOME (a+b)*", "back\\slash", "Schicht_ü", "a:b"]


@pytest.mark.parametrize("layers", [USUAL, UNUSUAL, ["ends with \\"]])
def test_int8bench_reads_its_own_override(layers):
    words = shlex.split(lists_of(layers)["int8bench"])
    plan = composed(*words).plan
    assert list(plan.float_selectors) == [f"node:{name}" for name in layers]


@pytest.mark.parametrize("layers", [USUAL, UNUSUAL])
def test_the_shell_and_the_tools_read_what_was_meant(layers):
    lists = lists_of(layers)
    first, second = shlex.split(lists["trtexec"])
    assert first == "--precisionConstraints=obey"
    spec = second.removeprefix("--layerPrecisions=").split(",")
    assert [one.rpartition(":") for one in spec] == [(name, ":", "fp16") for name in layers]
    *flags, option = shlex.split(lists["polygraphy"])[:3]
    assert (flags, option) == (["--precision-constraints", "obey"], "--layer-precisions")
    pairs = [one.rsplit(":", 1) for one in shlex.split(lists["polygraphy"])[3:]]
    assert pairs == [[name, "float16"] for name in layers]


@pytest.mark.parametrize("layers", [USUAL, UNUSUAL])
def test_modelopt_excludes_these_names_and_no_longer_ones(layers):
    option, *patterns = shlex.split(lists_of(layers)["ModelOpt"])
    assert option == "--nodes_to_exclude"
    for name, pattern in zip(layers, patterns, strict=True):
        assert re.match(pattern, name)
        assert not re.match(pattern, f"{name}_1")
        assert sum(bool(re.match(pattern, other)) for other in layers) == 1


@pytest.mark.parametrize("layers", [USUAL, UNUSUAL])
def test_lists_of_python_are_lists_of_python(layers):
    lists = lists_of(layers)
    assert ast.literal_eval(lists["ONNX Runtime"].removeprefix("nodes_to_exclude=")) == layers
    call = ast.parse(lists["NNCF"].removeprefix("ignored_scope="), mode="eval").body
    assert isinstance(call, ast.Call)
    assert ast.unparse(call.func) == "nncf.IgnoredScope"
    assert ast.literal_eval(call.keywords[0].value) == layers


def test_no_layers_no_lists():
    assert lists_of([]) == {}
