"""Malformed inputs, made by mutation: each must end in a clear line or a result.

``python -m tests.chaos.mutations --count 500`` prints what went wrong, with the case to run again:
``--only INDEX``. Hypothesis draws the mutations, the same ones for the same seed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.chaos.cases import CASES
from tests.chaos.ground import measure_ground, write_ground
from tests.chaos.pool import Ended, run_all

Mutation = tuple[str, Any, Any]
Case = tuple[str, str, list[Mutation]]
"""Kind, file, and the changes to it one after the other."""

NASTY: list[Any] = [
    None, float("nan"), float("inf"), -1, 0, 2**31, 2**63, 10**30, 1e308, "", "\0", "\ud800",
    "a\nb", "x" * 5000, [], {}, [[]], True, "../../x", "/dev/zero", "nan", "${oc.env:HOME}",
    {"_target_": "os.system"}, [None] * 3, "<b>", "$(touch x)",
]  # fmt: skip
TOKENS = [
    b"\xff", b"\0", b"nan", b"1e999", b"-1", b"9" * 400, b'"', b"\\ud800", b"[" * 2000, b"{" * 2000,
    b"&a *a", b"!!python/object:os.system", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"../../", b"\n",
    b",", b" ", b"=", b"null", b"1000000000", b"\xef\xbb\xbf", b"\r\n", b"/dev/zero", b"${", b"~",
    b"+", b"hydra.", b"_target_", b"$(touch x)", b"\xf0\x9f\x92\xa9", b"0x10", b"1_0", b": [",
    b"- ",
]  # fmt: skip
VALUES = [
    b"nan", b"inf", b"-inf", b"-1", b"0", b"1e-320", b"1e300", b"9" * 20, b"null", b"true", b"[]",
    b"{}", b"[1]", b"[[1,2],3]", b"{a: 1}", b"''", b"'a b'", b"a,b", b"range(1,9)", b"glob(*)",
    b"${model.name}", b"${oc.env:HOME}", b"${nothing}", b"???", b"../x", b"[op:Conv]", b"[name:(]",
    b"[first,first]", b"[1,2,3,4]", b"[nan,0,0]", b"0.0", b"1000000000", b"\xc3\xa9", b"entropy",
]  # fmt: skip
KEYS = [
    b"calibrator", b"plan", b"engine", b"dataset", b"model", b"also_build", b"scheme", b"placement",
    b"model.head", b"model.path", b"dataset.root", b"dataset.name", b"dataset.labels",
    b"dataset.classes", b"calibration", b"calibration.size", b"calibration.seed",
    b"calibration.pad", b"calibration.list", b"calibration.strategy", b"calibration.preprocess",
    b"evaluation.images", b"evaluation.seed", b"evaluation.batch_size", b"timing", b"timing.rounds",
    b"evaluation.agreement_score", b"timing.seconds", b"engine.threads", b"engine.provider",
    b"engine.accuracy_by", b"baseline.provider", b"weights", b"weights.granularity", b"max_loss",
    b"model.preprocess", b"model.preprocess.size", b"model.preprocess.mean", b"report.margin",
    b"model.preprocess.scale", b"model.preprocess.resize", b"model.preprocess.fit", b"sweep.strict",
    b"model.weights", b"sweep.models", b"plan.name", b"confirm.seeds", b"input_range", b"hydra",
    b"+calibrator.bins", b"~model", b"++engine.x", b"+model.weights.x.file",
]  # fmt: skip
CORES = min(os.cpu_count() or 1, 4)
_OF_A_SEARCH = 12
_PLACE = st.floats(0, 1, exclude_max=True)
_BYTES = st.tuples(
    st.sampled_from(["flip", "insert", "delete", "repeat", "cut", "swap"]),
    _PLACE,
    st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=12)),
)
_TREE = st.tuples(
    st.sampled_from(["set", "drop", "copy"]), _PLACE, st.sampled_from(range(len(NASTY)))
)
_GRAPH = st.tuples(
    st.sampled_from(
        ["dims", "attribute", "name", "op", "remove", "type", "opset", "data", "input"]
    ),
    _PLACE,
    st.sampled_from([-1, 0, 1, 2, 3, 7, 99, 2**16, 2**31, 2**62]),
)

_WORD = st.tuples(
    st.sampled_from(["value", "key"]),
    _PLACE,
    st.one_of(st.sampled_from(TOKENS), st.sampled_from(VALUES)),
)
_OFTEN = ["model"] * 4 + ["overrides"] * 4 + ["image"]
"""What runs the most code of others."""


@st.composite
def _cases(draw: Callable[[Any], Any]) -> Case:
    kind = draw(st.sampled_from([*sorted(CASES), *_OFTEN]))
    file = draw(st.sampled_from(CASES[kind][1]))
    ways = [_BYTES]
    ways += [_TREE] * 2 if file.endswith(".json") else []
    ways += [_GRAPH] * 6 if file.endswith(".onnx") else []
    ways += [_WORD] * 3 if file == "words.txt" else []
    way = draw(st.sampled_from(ways))
    return kind, file, draw(st.lists(way, min_size=1, max_size=4))


def draw_cases(count: int, seed: int) -> list[Case]:
    """So many different cases, the same for the same seed.

    Hypothesis varies what it has drawn before: many short searches reach farther than a long one.
    """
    found: dict[str, Case] = {}
    search = 0
    while len(found) < count:
        wanted = min(count, len(found) + _OF_A_SEARCH)
        _search(found, wanted, 1000 * seed + search)
        search += 1
    return list(found.values())


def _search(found: dict[str, Case], wanted: int, seed: int) -> None:
    @seeded(seed)
    @settings(
        max_examples=2 * _OF_A_SEARCH, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_cases())
    def draw(case: Case) -> None:
        if len(found) < wanted:
            found.setdefault(repr(case), case)

    draw()


def mutate(content: bytes, case: Case) -> bytes:
    """The file with the case's changes."""
    for change in case[2]:
        way, place, value = change
        if way in ("flip", "insert", "delete", "repeat", "cut", "swap"):
            content = _mutate_bytes(content, way, int(place * (len(content) + 1)), value)
        elif way in ("value", "key"):
            content = _mutate_words(content, way, place, value)
        elif way in ("set", "drop", "copy"):
            content = _mutate_tree(content, way, place, NASTY[value])
        else:
            content = _mutate_graph(content, way, place, value)
    return content


def _mutate_bytes(content: bytes, way: str, at: int, value: bytes) -> bytes:
    before, behind = content[:at], content[at:]
    changed = {
        "flip": before + bytes([behind[0] ^ (value[0] or 1)]) + behind[1:] if behind else before,
        "insert": before + value + behind,
        "delete": before + behind[len(value) * 4 :],
        "repeat": before + behind[:64] * 3 + behind[64:],
        "cut": before,
        "swap": before + value + behind[len(value) :],
    }
    return changed[way]


def _mutate_words(content: bytes, way: str, place: float, value: bytes) -> bytes:
    """Another value for a word's key, or a word more with a key of ours."""
    words = content.split(b"\n")
    if way == "key":
        key = KEYS[int(place * len(KEYS))]
        return b"\n".join([*(w for w in words if not w.startswith(key + b"=")), key + b"=" + value])
    index = int(place * len(words))
    words[index] = words[index].partition(b"=")[0] + b"=" + value
    return b"\n".join(words)


def _mutate_tree(content: bytes, way: str, place: float, value: Any) -> bytes:
    try:
        tree = json.loads(content)
    except ValueError:
        return content
    spots: list[tuple[Any, Any]] = []
    pending = [tree] if isinstance(tree, (dict, list)) else []
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        spots += [(node, key) for key in keys]
        pending += [node[key] for key in keys if isinstance(node[key], (dict, list))]
    if not spots:
        return json.dumps(value).encode()
    node, key = spots[int(place * len(spots))]
    if way == "set":
        node[key] = value
    elif way == "drop":
        del node[key]
    elif isinstance(node, list):
        node.append(node[key])
    else:
        node[f"{key} "] = node[key]
    return json.dumps(tree).encode()


def _mutate_graph(content: bytes, way: str, place: float, value: int) -> bytes:
    try:
        proto = onnx.ModelProto.FromString(content)
    except Exception:  # mutated before
        return content
    graph = proto.graph

    def one(several: Any) -> Any:
        return several[int(place * len(several))] if len(several) else None

    try:
        _change_graph(proto, one, way, value)
    except (AttributeError, ValueError, TypeError, IndexError):
        del graph.node[:1]
    return proto.SerializeToString()


def _change_graph(proto: onnx.ModelProto, one: Callable[[Any], Any], way: str, value: int) -> None:
    graph = proto.graph
    node, tensor = one(graph.node), one(graph.initializer)
    if way == "dims":
        tensor.dims[value % len(tensor.dims)] = value
    elif way == "attribute":
        attribute = one([a for own in graph.node for a in own.attribute])
        if attribute.ints:
            attribute.ints[0] = value
        else:
            attribute.i = value
    elif way == "name":
        node.output[0] = ["", "images", "x" * 5000, "a\n", "\u202e"][value % 5]
    elif way == "op":
        node.op_type = [
            "",
            "Identity",
            "If",
            "Loop",
            "QuantizeLinear",
            "Upsample",
            "ConstantOfShape",
        ][value % 7]
    elif way == "remove":
        graph.node.remove(node)
    elif way == "type":
        tensor.data_type = value % 2**31
    elif way == "opset":
        proto.opset_import[0].version = value
    elif way == "data":
        tensor.raw_data = tensor.raw_data[: value % 50] + b"\xff\xff\xff\x7f"
    else:
        graph.input[0].type.tensor_type.shape.dim[value % 4].dim_value = value


def run(count: int, seed: int) -> dict[str, int]:
    """Run so many cases; what went wrong is printed."""
    counts = Counter(malformed_inputs=0, tracebacks=0, hangs=0, over_memory=0)
    cases = draw_cases(count, seed)
    for ended in run_cases(cases, range(len(cases))):
        counts["malformed_inputs"] += 1
        name = {"traceback": "tracebacks", "hang": "hangs", "memory": "over_memory"}.get(ended.kind)
        if name:
            counts[name] += 1
            print(f"{ended.kind}: case {ended.index} {cases[ended.index]!r:.300}", file=sys.stderr)
            print("\n".join(ended.said.splitlines()[-12:]), file=sys.stderr, flush=True)
    return dict(counts)


def run_cases(cases: list[Case], indices: Any, side_by_side: int = CORES) -> list[Ended]:
    """These of the cases, each in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        ground = Path(folder) / "ground"
        write_ground(ground)
        (ready,) = run_all([partial(_in, ground, measure_ground)], seconds=300)
        if ready.kind != "fine":
            raise RuntimeError(f"the good inputs are none:\n{ready.said}")
        chosen = list(indices)
        tasks = [partial(_run_case, cases[index], ground) for index in chosen]
        return [
            Ended(chosen[ended.index], ended.kind, ended.said, ended.seconds)
            for ended in run_all(tasks, side_by_side)
        ]


def _run_case(case: Case, ground: Path) -> None:
    kind, file, _ = case
    with tempfile.TemporaryDirectory(dir=ground.parent) as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ground, copy)
        path = copy / file
        path.write_bytes(mutate(path.read_bytes(), case))
        _in(copy, CASES[kind][0])


def _in(folder: Path, body: Callable[[], None]) -> None:
    os.chdir(folder)
    body()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*")
    options = parser.parse_args()
    if options.only is None:
        counts = run(options.count, options.seed)
        print(json.dumps(counts))
        return int(any(counts[name] for name in ("tracebacks", "hangs", "over_memory")))
    cases = draw_cases(options.count, options.seed)
    for ended in run_cases(cases, options.only):
        print(f"{ended.kind} after {ended.seconds:.1f} s: {cases[ended.index]!r}\n{ended.said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
