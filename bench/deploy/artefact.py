"""What a run deploys: its two ONNX files, its ranges for both kinds of quantization, its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from bench.model.edit import with_batch
from bench.model.graph import MOVING_OPS, Graph
from bench.quantization.plan import IMPLICIT
from bench.quantization.qdq import insert_qdq
from bench.results.histograms import HistogramStore
from bench.run.ranges import find_run_ranges, points_with
from bench.run.spec import Run


@dataclass(frozen=True, eq=False)
class Artefact:
    """A quantized network, for explicit (``qdq``) and implicit quantization (the others).

    ``fp32`` is the model as the harness reads it: constants folded, every node named. The names in
    ``ranges`` (tensor -> amax, at every activation) and ``float_layers`` (node -> its outputs) are
    its own, and need not be in the file that it was read from. Nodes that move values and compute
    none, such as a Concat, are not among the latter: TensorRT has no precision for them.
    """

    qdq: onnx.ModelProto
    fp32: onnx.ModelProto
    ranges: Mapping[str, float]
    float_layers: Mapping[str, tuple[str, ...]]


def make_artefact(run: Run, folder: Path) -> Artefact:
    """From the ranges that the sweep in ``folder`` kept for the run.

    Where the run placed Q/DQ explicitly, the ranges of all other tensors are found by the same
    calibrator on the same images; their statistics are cached, else it is one more pass.
    """
    network, graph = run.model.network, Graph(run.model.network)
    kept = HistogramStore(folder).ranges(run.key)
    quantized = insert_qdq(network, graph, points_with(run, graph, kept), kept, run.weights)
    everywhere = replace(run, placement="implicit_tensorrt10")  # for TensorRT 8.5 to 10
    ranges = kept if run.placement in IMPLICIT else find_run_ranges(everywhere).amax
    batch = run.measurement.batch_size
    in_float = run.plan.float_nodes(graph)
    return Artefact(
        with_batch(quantized, network.input_name, batch),
        with_batch(network.proto, network.input_name, batch),
        ranges,
        {
            name: tuple(node.output)
            for name, node in graph.nodes.items()
            if name in in_float
            and graph.is_activation(node.output[0])
            and node.op_type not in MOVING_OPS
        },
    )
