"""Where the values of initializers lie in the bytes of an ONNX file.

A target that has no onnx package writes other values there. So the few messages on the way are read
as protobuf encodes them (protobuf.dev, "Encoding"): ModelProto.graph = 7, GraphProto.initializer =
5, TensorProto.name = 8, TensorProto.raw_data = 9 (onnx.proto3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.errors import ModelError

Span = tuple[int, int]
"""Offset of the first byte, and how many there are."""

_GRAPH, _INITIALIZER, _NAME, _RAW_DATA = 7, 5, 8, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def raw_data_spans(content: bytes) -> Mapping[str, Span]:
    """Initializer -> where its ``raw_data`` lies in a serialized ModelProto.

    Those that keep their values in another field are left out. Raises ModelError for bytes that are
    no such message.
    """
    spans: dict[str, Span] = {}
    try:
        for graph in _fields(content, (0, len(content)), _GRAPH):
            for tensor in _fields(content, graph, _INITIALIZER):
                for start, size in _fields(content, tensor, _NAME):
                    name = content[start : start + size].decode()
                for span in _fields(content, tensor, _RAW_DATA):
                    spans[name] = span
    except (IndexError, ValueError, UnboundLocalError) as error:
        raise ModelError(f"this is no serialized ONNX model ({error})") from error
    return spans


def _fields(content: bytes, span: Span, wanted: int) -> Iterator[Span]:
    """The fields of number ``wanted`` in the message at ``span``, of those with a length."""
    at, end = span[0], sum(span)
    while at < end:
        key, at = _varint(content, at)
        match key & 7:
            case kind if kind == _BYTES:
                size, at = _varint(content, at)
                if at + size > end:
                    raise ValueError("a field is longer than its message")
                if key >> 3 == wanted:
                    yield at, size
                at += size
            case kind if kind == _VARINT:
                _, at = _varint(content, at)
            case kind if kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            case kind:
                raise ValueError(f"wire type {kind} at byte {at}")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number that begins at ``at``, and where the next byte after it lies."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
