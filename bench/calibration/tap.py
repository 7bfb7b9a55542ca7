"""The network in pieces, so that every activation is counted while it is still in the cache.

Outputting all activations of a network at once costs nearly as much as computing them: YOLOX-nano
at 640 has 71 million, a quarter of a gigabyte that is written to memory and read again. So the
network is cut into runs of nodes whose tensors fit into the cache. They run one after the other,
the tensors of each are counted before the next starts, and memory that is no longer read is reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper

from bench.errors import ModelError
from bench.model.edit import names_read
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel

Array = npt.NDArray[np.float32]

PIECE_BYTES = 2 << 20
"""A piece ends at this size of observed tensors: a worker's share of the cache."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Consecutive nodes, with their inputs, their outputs, and the observed tensors."""

    nodes: tuple[NodeProto, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    shown: tuple[str, ...]


class TappedNetwork:
    """The sessions of a network's pieces, to be shared by the taps of several workers.

    ``tensors`` are to be looked at; ``threads`` work on one piece.
    """

    def __init__(self, model: OnnxModel, tensors: Sequence[str], threads: int) -> None:
        self.graph = Graph(model)
        self.tensors = tuple(tensors)
        wanted = frozenset(tensors)
        self.pieces = [p for p in _cut(model.proto.graph, self.graph, wanted) if p.gives]
        self.sessions = [_open(model.proto, self.graph, piece, threads) for piece in self.pieces]


class Tap:
    """One worker's way through a network, with memory for ``group`` images that is used again.

    Fresh memory for every image would have to be cleared by the system first. Only tensors without
    a static shape get it. ``backwards``: the tensors of a piece are given in reverse.
    """

    def __init__(self, network: TappedNetwork, group: int = 1, backwards: bool = False) -> None:
        self._network, self._group = network, group
        self._input_name = network.graph.input_name
        self._shown = [p.shown[::-1] if backwards else p.shown for p in network.pieces]
        self._bindings = [[s.io_binding() for _ in range(group)] for s in network.sessions]
        self._buffers: list[dict[str, Array]] = []
        last_use = {n: i for i, piece in enumerate(network.pieces) for n in piece.reads}
        free: list[npt.NDArray[np.uint8]] = []
        held: dict[str, tuple[npt.NDArray[np.uint8], Array]] = {}
        for index, (piece, bindings) in enumerate(zip(network.pieces, self._bindings, strict=True)):
            made: dict[str, Array] = {}
            for name in piece.gives:
                shape = _static_shape(network.graph, name)
                if shape is not None:
                    memory, made[name] = _memory(free, (group, *shape))
                    held[name] = memory, made[name]
            for image, binding in enumerate(bindings):
                for name in piece.reads:
                    if name != self._input_name:
                        own = held[name][1][image]
                        binding.bind_input(name, "cpu", 0, np.float32, own.shape, own.ctypes.data)
                for name in piece.gives:
                    if name not in made:
                        binding.bind_output(name, "cpu")
                        continue
                    own = made[name][image]
                    binding.bind_output(name, "cpu", 0, np.float32, own.shape, own.ctypes.data)
            self._buffers.append(made)
            for name in [n for n in held if last_use.get(n, index) <= index]:
                free.append(held.pop(name)[0])

    def run(self, images: Sequence[Array]) -> Iterator[tuple[str, int, Array]]:
        """Every tensor of up to ``group`` images: name, first of the images, their values.

        The values (images, ...) only last until the next ones are asked for.
        """
        images = [np.ascontiguousarray(image) for image in images]
        if self._input_name in self._network.tensors:
            yield self._input_name, 0, np.stack(images)
        for index, piece in enumerate(self._network.pieces):
            buffers, bindings = self._buffers[index], self._bindings[index][: len(images)]
            for image, binding in zip(images, bindings, strict=True):
                if self._input_name in piece.reads:
                    binding.bind_cpu_input(self._input_name, image)
                for name in piece.gives:
                    if name not in buffers:  # or it would need the shape that it had before
                        binding.bind_output(name, "cpu")
                with _in_one_line():
                    self._network.sessions[index].run_with_iobinding(binding)
            for name in self._shown[index]:
                if name in buffers:
                    yield name, 0, buffers[name][: len(images)]
                    continue
                place = piece.gives.index(name)
                for number, binding in enumerate(bindings):
                    yield name, number, binding.get_outputs()[place].numpy()[None]


def _cut(graph: onnx.GraphProto, index: Graph, wanted: frozenset[str]) -> Iterator[_Piece]:
    """The graph's nodes in pieces, cut only where plain tensors go across."""
    nodes = list(graph.node)
    stored = {tensor.name for tensor in graph.initializer}
    reads = [names_read(node) - stored for node in nodes]
    last_reader = {name: position for position, names in enumerate(reads, 1) for name in names}
    begin, size, across = 0, 0, {index.input_name}
    for position, node in enumerate(nodes, 1):
        across.update(name for name in node.output if name in last_reader)
        across -= {name for name in reads[position - 1] if last_reader[name] == position}
        size += sum(_bytes(index, name) for name in node.output if name in wanted)
        ends = position == len(nodes)
        if ends or (size >= PIECE_BYTES and all(_is_plain(index, name) for name in across)):
            piece = nodes[begin:position]
            made_here = {name for node in piece for name in node.output}
            read = set().union(*reads[begin:position]) - made_here
            yield _Piece(
                tuple(piece),
                tuple(sorted(read)),
                tuple(sorted(made_here & (wanted | across))),
                tuple(name for node in piece for name in node.output if name in wanted),
            )
            begin, size = position, 0


def _is_plain(graph: Graph, tensor: str) -> bool:
    """Float32 with a static shape: what can be handed on in memory of ours."""
    return graph.is_activation(tensor) and _static_shape(graph, tensor) is not None


def _static_shape(graph: Graph, tensor: str) -> tuple[int, ...] | None:
    try:
        return graph.shape(tensor)
    except ModelError:
        return None


def _bytes(graph: Graph, tensor: str) -> int:
    return 4 * int(np.prod(_static_shape(graph, tensor) or (0,)))


def _memory(
    free: list[npt.NDArray[np.uint8]], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.uint8], Array]:
    """Memory for a tensor: the smallest free buffer that is large enough, or a new one."""
    size = 4 * int(np.prod(shape))
    fitting = [i for i, memory in enumerate(free) if memory.nbytes >= size]
    if fitting:
        memory = free.pop(min(fitting, key=lambda i: free[i].nbytes))
    else:
        memory = np.empty(size, np.uint8)
    return memory, memory[:size].view(np.float32).reshape(shape)


def _open(
    proto: onnx.ModelProto, graph: Graph, piece: _Piece, threads: int
) -> ort.InferenceSession:
    used = {name for node in piece.nodes for name in names_read(node)}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in piece.gives]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.shape(name))
        for name in piece.reads
    ]
    part = helper.make_graph(
        piece.nodes,
        "piece",
        inputs,
        values,
        [tensor for tensor in proto.graph.initializer if tensor.name in used],
    )
    model = helper.make_model(part, opset_imports=proto.opset_import)
    model.ir_version = proto.ir_version
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # The layout of the last level of optimization would have to be undone for every output.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # Threads that spin between two layers would take the core that others need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with _in_one_line():
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


@contextmanager
def _in_one_line() -> Iterator[None]:
    """ModelError for what ONNX Runtime says of a piece of the FP32 model."""
    try:
        yield
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"ONNX Runtime cannot run the FP32 model ({reason})", "Export the model again"
        ) from error
