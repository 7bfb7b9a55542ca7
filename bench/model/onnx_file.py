"""Reading an ONNX file and the data beside it, without trusting them.

Data beside the file must be regular files in its own folder (ONNX IR, "External Tensor Data", says
the same). This is checked before a byte of them is read: ``/dev/zero`` or a FIFO would never end.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto

from bench.cache import content_key, hash_file
from bench.errors import ModelError

MOST_BYTES = 2**31 - 1
"""Largest size of a model with its data: the limit of a protobuf message."""

_KINDS = {b"PK\x03\x04": "a zip archive, such as PyTorch saves", b"\x80": "a pickle",
          b"\x89HDF": "an HDF5 file"}  # fmt: skip
"""First bytes of files that are sometimes mistaken for ONNX."""


def read_proto(path: Path) -> onnx.ModelProto:
    """The model in a file, without the data beside it; ModelError for another kind of file."""
    _require_regular(path)
    _require_size(path, path.stat().st_size)
    content = path.read_bytes()
    kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), None)
    if kind:
        raise ModelError(f"{path} is {kind}, not an ONNX model", "Export the model to ONNX")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
        odd = _odd_name(proto)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(path, error) from error
    if odd:
        raise ModelError(
            f"{path} has a name that is not UTF-8 text ({odd[:80]})", "Export it again"
        )
    return proto


def hash_with_data(path: Path, proto: onnx.ModelProto) -> str:
    """SHA-256 of the file; where data lies in files beside it, of their hashes too.

    Raises ModelError for data that is not a regular file in the model's folder.
    """
    beside = sorted({_location(tensor, path) for tensor in external_tensors(proto)})
    files = [path.parent / name for name in beside]
    for file in files:
        _require_inside(file, path)
    sizes = [file.stat().st_size for file in files]
    _require_size(path, path.stat().st_size + sum(sizes))
    hashes = [hash_file(file) for file in (path, *files)]
    return hashes[0] if len(hashes) == 1 else content_key(*hashes)


def load_data(path: Path, proto: onnx.ModelProto) -> None:
    """Put the data beside the file into ``proto``; ``hash_with_data`` has checked where it lies."""
    total = 0
    for tensor in external_tensors(proto):
        try:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise invalid(path, error) from error
        total += len(tensor.raw_data)  # tensors may share a piece of a file
        _require_size(path, total)


def invalid(path: Path, error: Exception) -> ModelError:
    """The error about a file that is not a valid model."""
    said = str(error).strip().splitlines()
    reason = said[0] if said else type(error).__name__
    return ModelError(
        f"{path} is not a valid ONNX model ({reason[:300]})", "Export it again, or fetch it whole"
    )


def external_tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """The tensors whose data lies in other files: weights, and what attributes of nodes hold."""
    for tensor in all_tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield tensor


def all_tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the model, those of functions and inner graphs too."""
    for part in _parts(proto):
        if isinstance(part, GraphProto):
            yield from part.initializer
            yield from _of_sparse(part.sparse_initializer)
    for node in all_nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            yield from _of_sparse([attribute.sparse_tensor, *attribute.sparse_tensors])


def all_nodes(proto: onnx.ModelProto) -> Iterator[NodeProto]:
    """Every node of the model, those of functions and inner graphs too."""
    for part in _parts(proto):
        yield from part.node


def _parts(proto: onnx.ModelProto) -> Iterator[GraphProto | FunctionProto]:
    """What has nodes: the graph, those of training, functions, and the graphs inside of nodes."""
    pending: list[GraphProto | FunctionProto] = [proto.graph, *proto.functions]
    for training in proto.training_info:
        pending += [training.initialization, training.algorithm]
    while pending:
        part = pending.pop()
        yield part
        for node in part.node:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += attribute.graphs


def _of_sparse(tensors: Iterable[SparseTensorProto]) -> Iterator[TensorProto]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)


def _location(tensor: TensorProto, path: Path) -> str:
    locations = [entry.value for entry in tensor.external_data if entry.key == "location"]
    if not locations or not locations[-1]:
        raise ModelError(
            f"tensor '{tensor.name}' of {path} does not name its data file", "Export it again"
        )
    return str(locations[-1])


def _require_inside(file: Path, path: Path) -> None:
    """Raise ModelError unless the data is a regular file in the model's folder, itself no link to
    elsewhere."""
    folder = path.parent.resolve()
    named = file.relative_to(path.parent) if file.is_relative_to(path.parent) else file
    try:
        leads_out = named.is_absolute() or ".." in named.parts
        leads_out = leads_out or not file.resolve().is_relative_to(folder)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero byte
        raise invalid(path, error) from error
    if leads_out:
        raise ModelError(
            f"{path} takes data from {named}, outside its folder",
            "Export it with its data beside it",
        )
    if not file.exists():
        raise ModelError(
            f"{path} takes data from {named}, which does not exist", "Give the file with its data"
        )
    _require_regular(file)


def _require_regular(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise ModelError(f"{path} is not a regular file", "Check model.path")


def _require_size(path: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise ModelError(
            f"{path} with its data has {size / 2**30:.1f} GiB, more than the 2 GiB of an ONNX "
            "model in memory",
            "Give a smaller model",
        )


def _odd_name(message: Message) -> str:
    """A text in the message that is not UTF-8, which protobuf gives as bytes; else nothing."""
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        several = (value,) if isinstance(value, (str, bytes, Message)) else value
        if field.type == field.TYPE_STRING:
            odd = next((repr(text) for text in several if not isinstance(text, str)), "")
        else:
            odd = next(filter(None, map(_odd_name, several)), "")
        if odd:
            return odd
    return ""
