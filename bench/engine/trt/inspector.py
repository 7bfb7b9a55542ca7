"""Which layers an engine really runs in INT8, from TensorRT's engine inspector.

Built with detailed profiling verbosity, an engine lists its layers as JSON: name, type, and the
format of every input and output, such as "Thirty-two wide channel vectorized row major Int8 format"
or "Row major linear FP32" (NVIDIA/TensorRT issues 2418, 3737 and 4020 show some). TensorRT 11 has
other keys: "I/O Tensors" for "Bindings", and "Format" and "DataType" for "Format/Datatype". So keys
are compared without regard to case, and both are searched for the type. A layer's name is made of
the ONNX nodes that were fused into it, as in "conv1 + relu1 || conv2 + relu2"; TensorRT 10 also
lists them as "[ONNX Layer: conv1]" in its metadata. What runs inside a region that Myelin compiled
("ForeignNode[first...last]") is not reported: it counts as a whole, by its inputs. Where only the
name lists its nodes, only the first and the last are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bench.engine.base import Description

_METADATA = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_COPY = re.compile(r"Reformatting CopyNode for .*?Tensor \d+ (?:to|from) ")
"""How the name of a layer begins that changes the format for the layer behind it."""
_JOINTS = re.compile(r" \+ | \|\| |, |PWN\(|\.\.\.|[(){}\[\]]")


def read_layers(information: str, products: Iterable[str]) -> Description:
    """What the inspector reports on the convolutions and matrix products among the ONNX nodes.

    ``products`` are their names. A layer runs in INT8 if an input of it is INT8; layers that only
    change a format are left out. Where no node is listed, what ran is unknown.
    """
    layers = _layers(information)
    if layers is None:
        return Description(None, 0, 0)
    known = frozenset(products)
    int8_nodes: set[str] = set()
    int8 = count = 0
    for layer in layers:
        if str(layer.get("layertype", "")).lower() == "reformat":
            continue
        of_layer = known & _nodes(layer)
        if not of_layer:
            continue
        count += 1
        if any(_is_int8(source) for source in layer.get("inputs", [])):
            int8 += 1
            int8_nodes |= of_layer
    return Description(frozenset(int8_nodes) if count else None, int8, count)


def read_nodes(information: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """By the engine's name of a layer, the ONNX nodes among ``names`` that it runs; for a layer
    that changes a format, those for which it does."""
    known = frozenset(names)
    nodes = {}
    for layer in _layers(information) or []:
        name = str(layer.get("name", ""))
        served = {"name": _COPY.sub("", name)} if _COPY.match(name) else {}
        nodes[name] = tuple(sorted(known & _nodes({**layer, **served})))
    return nodes


def _layers(information: str) -> list[dict[str, Any]] | None:
    """With keys in lower case; None for what is not the inspector's JSON."""
    try:
        layers = _lower(json.loads(information, strict=False))["layers"]  # separators in metadata
        return [_lower(layer) for layer in layers if isinstance(layer, dict)]
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _lower(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in layer.items()}


def _nodes(layer: Mapping[str, Any]) -> set[str]:
    """The ONNX nodes of a layer, with a few words that are not nodes."""
    listed = _METADATA.findall(str(layer.get("metadata", "")))
    return set(listed) or {part.strip() for part in _JOINTS.split(str(layer.get("name", "")))}


def _is_int8(source: Mapping[str, Any]) -> bool:
    """By its type, or its format where that names the type."""
    return any(
        "int8" in str(value).lower()
        for key, value in _lower(source).items()
        if "format" in key or "datatype" in key
    )
