"""Which layers an engine really runs in INT8, from TensorRT's engine inspector.

Built with detailed profiling verbosity, an engine tells its layers as JSON: name, type, and the
format of every input and output, such as "Thirty-two wide channel vectorized row major Int8 format"
or "Row major linear FP32" (NVIDIA/TensorRT issues 2418, 3737 and 4020 show some). A layer's name is
made of the ONNX nodes that were fused into it, as in "conv1 + relu1 || conv2 + relu2"; TensorRT 10
also lists them as "[ONNX Layer: conv1]" in its metadata. Nothing tells what runs inside a region
that Myelin compiled ("ForeignNode[first...last]"): as a whole it counts by its inputs, and where
the name alone tells its nodes, only the first and the last are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bench.engine.base import Description

_METADATA = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_JOINTS = re.compile(r" \+ | \|\| |, |PWN\(|\.\.\.|[(){}\[\]]")


def read_layers(information: str, products: Iterable[str]) -> Description:
    """What the inspector says of the convolutions and matrix products among the ONNX nodes.

    ``products`` are their names. A layer runs in INT8 if an input of it is INT8; layers that only
    change a format are left out. Where none of the nodes is told of, what ran is unknown.
    """
    try:
        layers = json.loads(information, strict=False)["Layers"]  # separators in the metadata
    except (ValueError, KeyError, TypeError):
        return Description(None, 0, 0)
    known = frozenset(products)
    int8_nodes: set[str] = set()
    int8 = count = 0
    for told in layers:
        if not isinstance(told, dict) or told.get("LayerType") == "Reformat":
            continue
        own = known & _nodes(told)
        if not own:
            continue
        count += 1
        if any(_is_int8(source) for source in told.get("Inputs", [])):
            int8 += 1
            int8_nodes |= own
    return Description(frozenset(int8_nodes) if count else None, int8, count)


def _nodes(told: Mapping[str, Any]) -> set[str]:
    """The ONNX nodes that a layer stands for, with a few words that are none."""
    listed = _METADATA.findall(str(told.get("Metadata", "")))
    return set(listed) or {part.strip() for part in _JOINTS.split(str(told.get("Name", "")))}


def _is_int8(source: Mapping[str, Any]) -> bool:
    return any(
        "int8" in str(value).lower()
        for key, value in source.items()
        if "Format" in key or "type" in key
    )
