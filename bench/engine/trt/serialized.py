"""A serialized engine that somebody else built: recognised, checked against the FP32 model, loaded.

A plan begins with the letters ``ftrt`` (pytorch/TensorRT looks for them, too). Ultralytics puts its
metadata before it: four bytes with the length of a text, as a little-endian integer, and the text,
which is JSON (ultralytics, ``export_engine``: ``len(meta).to_bytes(4, byteorder="little",
signed=True)``; issue 4597). The metadata is skipped, and not used.

An engine runs code of whoever built it: "Deserializing an engine from an untrusted source is
equivalent to running untrusted native code on the GPU and host" (NVIDIA, TensorRT 11.4, "Security
Considerations"). Nothing here makes that safe: ``SECURITY.md`` says which engines are loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from bench.engine.trt.build_log import open_log, reason
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.engine_store import Built, Plan
from bench.engine.trt.runtime import TensorRtSession
from bench.engine.trt.session import open_session
from bench.errors import ModelError

if TYPE_CHECKING:
    from tensorrt_api import ICudaEngine, TensorRT

_MAGIC = b"ftrt"
_ENDINGS = (".engine", ".plan", ".trt")
_MOST_METADATA = 2**24
_FLOATS = ("FLOAT", "HALF")
_FIX = "Give the FP32 file that the engine was built from as model.path"

Shape = tuple[int, ...]


def is_engine(path: Path) -> bool:
    """Whether a file begins as an engine does, or its name ends as engines' names do."""
    with path.open("rb") as file:
        start = file.read(4)
        if start != _MAGIC and 0 < _length(start) <= _MOST_METADATA:
            file.seek(_length(start), 1)
            start = file.read(4)
    return start == _MAGIC or path.suffix.lower() in _ENDINGS


def read_plan(path: Path) -> bytes:
    """The plan in a file, without Ultralytics' metadata; ModelError for a file that has none."""
    content = path.read_bytes()
    if content.startswith(_MAGIC):
        return content
    end = 4 + _length(content[:4])
    if content[end : end + 4] == _MAGIC and _is_json(content[4:end]):
        return content[end:]
    raise ModelError(
        f"{path} is not a TensorRT engine: it does not begin with '{_MAGIC.decode()}'",
        "Give the file that builder.build_serialized_network, trtexec or Ultralytics wrote",
    )


def _length(start: bytes) -> int:
    return int.from_bytes(start, "little")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def open_serialized(
    trt: TensorRT,
    path: Path,
    model: onnx.ModelProto,
    shapes: Mapping[str, Shape],
    graphs: bool | None,
    streams: int,
) -> TensorRtSession:
    """Load the engine at ``path``, which was built from ``model``: FP32, with a fixed batch.

    ``shapes`` has the shape of every input and output at a batch of one image. Raises ModelError
    for what is not an engine, for an engine that this TensorRT or this GPU cannot load, and for one
    with other inputs or outputs than the model.
    """
    plan = read_plan(path)
    _check(trt, plan, path, model, shapes)
    return open_session(trt, Built(Plan(plan), None), model, graphs, streams)


def _check(
    trt: TensorRT, plan: bytes, path: Path, model: onnx.ModelProto, shapes: Mapping[str, Shape]
) -> None:
    log = open_log(trt)
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ModelError(
            f"TensorRT {trt.__version__} cannot load {path} on {find_gpu()} ({reason(log)})",
            "An engine needs the TensorRT version and the GPU that it was built with, and the "
            "whole file: build it here, or give the file that it was built from",
        )
    source = next(value for value in model.graph.input if value.name in shapes)
    batch = source.type.tensor_type.shape.dim[0].dim_value
    for fault in _faults(trt, engine, source.name, shapes, batch):
        raise ModelError(f"{path} {fault[0]}", fault[1])


def _faults(
    trt: TensorRT, engine: ICudaEngine, source: str, shapes: Mapping[str, Shape], batch: int
) -> Iterator[tuple[str, str]]:
    """What does not fit, and the fix: names, then types, then sizes, then the batch."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if name not in inputs]
    wanted = [name for name in shapes if name != source]
    for what, theirs, ours in (("input", inputs, [source]), ("output", outputs, wanted)):
        if set(theirs) != set(ours):
            yield f"has {what} {_listed(theirs)}, and the FP32 model {_listed(ours)}", _FIX
    for name in names:
        kind = engine.get_tensor_dtype(name).name
        if kind not in _FLOATS:
            yield (
                f"has '{name}' as {kind}, not in floating point",
                "Build the engine with inputs and outputs in FP32 or FP16",
            )
    for name in names:
        theirs_shape, ours_shape = tuple(engine.get_tensor_shape(name)), shapes[name]
        fits = len(theirs_shape) == len(ours_shape) and all(
            a in (-1, b) for a, b in zip(theirs_shape[1:], ours_shape[1:], strict=True)
        )
        if not fits:
            yield (
                f"has '{name}' of shape {_shape(theirs_shape)}, and the FP32 model of "
                f"{_shape(ours_shape)}",
                _FIX,
            )
    least, _, most = (next(iter(one)) for one in engine.get_tensor_profile_shape(source, 0))
    if not least <= batch <= most:
        takes = str(least) if least == most else f"{least} to {most}"
        yield (
            f"takes batches of {takes}, not evaluation.batch_size={batch}",
            f"Use evaluation.batch_size={most}",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _shape(extents: Shape) -> str:
    """As "N x 3 x 640 x 640": the batch is compared apart."""
    return " x ".join(["N", *("?" if extent == -1 else str(extent) for extent in extents[1:])])
