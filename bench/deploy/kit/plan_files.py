"""One Q/DQ file for all rows that quantize the same layers, and the values of each row beside it.

Rows of one plan have the same weights on the same grid. They differ in their activation scales, in
the biases, which lie on the grid of activation scale x weight scale, and where an output channel is
nearly dead in its weights too. What differs is measured on the files themselves, not assumed.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from bench.deploy.kit.wire import Span, raw_data_spans
from bench.deploy.runner import files as target
from bench.engine.trt.float_weights import with_float_weights
from bench.errors import ModelError
from bench.model.graph import attribute

GROUPED_BY = ("placement", "scheme", "weight_scales")
"""Rows that differ in one of these do not share a file, even if its nodes are the same."""


@dataclass
class PlanFile:
    """A Q/DQ file, ``content``, and of each row what differs from it: initializer -> its bytes."""

    content: bytes
    differences: dict[str, Mapping[str, bytes]] = field(default_factory=dict)

    @property
    def varying(self) -> list[str]:
        """The initializers that differ in any row, as they lie in the file."""
        spans = raw_data_spans(self.content)
        names = {name for own in self.differences.values() for name in own}
        return sorted(names, key=lambda name: spans[name])

    def values(self, key: str) -> bytes:
        """What a row has in place of the varying initializers, one after the other."""
        spans, own = raw_data_spans(self.content), self.differences[key]
        return b"".join(own.get(name) or _at(self.content, spans[name]) for name in self.varying)


def group_rows(
    rows: Sequence[tuple[str, tuple[str, ...], Callable[[], onnx.ModelProto]]],
) -> Iterator[tuple[PlanFile, dict[str, dict[str, str]]]]:
    """The plan files of rows, each with the SHA-256 of its rows' files in every form.

    ``rows``: key, what it is grouped by beside the file's structure, and what makes its Q/DQ file.
    """
    groups: dict[tuple[str, ...], PlanFile] = {}
    sums: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for key, apart, make in rows:
        model = make()
        content = model.SerializeToString(deterministic=True)
        structure = (_structure(content), *apart)
        base = groups.setdefault(structure, PlanFile(content))
        base.differences[key] = _differences(base.content, content)
        as_float = with_float_weights(model).SerializeToString(deterministic=True)
        sums.setdefault(structure, {})[key] = {"int8": _sum(content), "float": _sum(as_float)}
    for structure, base in groups.items():
        yield base, sums[structure]


def describe(base: PlanFile) -> tuple[dict[str, Any], bytes]:
    """What kit.json says of a plan file, and the packed skeleton of its form with FP32 weights."""
    model = onnx.ModelProto.FromString(base.content)
    as_float = with_float_weights(model).SerializeToString(deterministic=True)
    of_int8, of_float = raw_data_spans(base.content), raw_data_spans(as_float)
    skeleton, pieces = _pieces(model, of_int8, of_float, as_float)
    varying = base.varying
    return {
        "int8": [list(of_int8[name]) for name in varying],
        "float": [list(of_float.get(name, (-1, of_int8[name][1]))) for name in varying],
        "pieces": pieces,
    }, zlib.compress(skeleton, 9)


def check(base: PlanFile, facts: Mapping[str, Any], sums: Mapping[str, Mapping[str, str]]) -> None:
    """Make every row's files as a target does; ModelError where they are not the very bytes."""
    skeleton = zlib.decompress(facts["packed"])
    for key, expected in sums.items():
        values, content = base.values(key), bytearray(base.content)
        target.write_values(content, values, facts["int8"])
        as_float = target.with_float_weights(bytes(content), skeleton, facts["pieces"])
        target.write_values(as_float, values, facts["float"])
        if (_sum(content), _sum(as_float)) != (expected["int8"], expected["float"]):
            raise ModelError(f"the Q/DQ file of run {key} cannot be made of its plan's file")


def _pieces(
    model: onnx.ModelProto,
    of_int8: Mapping[str, Span],
    of_float: Mapping[str, Span],
    as_float: bytes,
) -> tuple[bytes, list[dict[str, Any]]]:
    """Of the file with FP32 weights: all but these, and what stands where."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    weighted = [
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes
    ]
    at, skeleton, pieces = 0, b"", list[dict[str, Any]]()
    for node in sorted(weighted, key=lambda node: of_float[f"{node.input[0]}/float"]):
        weights, scales = node.input[:2]
        start, size = of_float[f"{weights}/float"]
        inner = int(np.prod(shapes[weights][attribute(node, "axis", 1) + 1 :]))
        skeleton += as_float[at:start]
        pieces += [
            {"copy": start - at},
            {"weights": list(of_int8[weights]), "scales": list(of_int8[scales]), "inner": inner},
        ]
        at = start + size
    return skeleton + as_float[at:], [*pieces, {"copy": len(as_float) - at}]


def _structure(content: bytes) -> str:
    """Equal for files that differ in the values of their initializers alone."""
    blank = bytearray(content)
    for start, size in raw_data_spans(content).values():
        blank[start : start + size] = bytes(size)
    return _sum(blank)


def _differences(base: bytes, content: bytes) -> Mapping[str, bytes]:
    spans = raw_data_spans(content)
    return {
        name: _at(content, span)
        for name, span in spans.items()
        if _at(content, span) != _at(base, span)
    }


def _at(content: bytes, span: Span) -> bytes:
    return content[span[0] : sum(span)]


def _sum(content: bytes | bytearray) -> str:
    return hashlib.sha256(content).hexdigest()
