"""Which layers an engine really ran in INT8: ``layers/RUN_KEY.json`` beside a sweep's rows."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path

from bench.cache import write_atomically
from bench.model.graph import Graph
from bench.results.folder import SweepFolder


def store_layers(
    folder: Path, run_key: str, graph: Graph, planned: Set[str] | None, ran: Set[str]
) -> None:
    """Store, for every convolution and matrix product, by the name of its ONNX node: operator,
    multiply-accumulates, and whether INT8 was ``planned`` for it (null where that is not known) and
    ``ran``."""
    content = {
        name: {
            "op": graph.nodes[name].op_type,
            "macs": graph.macs(name),
            "planned_int8": None if planned is None else name in planned,
            "ran_int8": name in ran,
        }
        for name in graph.compute
    }
    write_atomically(
        SweepFolder(folder).layers(run_key), (json.dumps(content, indent=1) + "\n").encode()
    )
