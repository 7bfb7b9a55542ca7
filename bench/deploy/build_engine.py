"""Build a TensorRT engine from this bundle: ``python build_engine.py explicit`` (or ``implicit``).

``explicit`` takes model.qdq.onnx, which says everything by itself, to TensorRT 10 and 11, and
model.qdq.tensorrt8.onnx, the same with its weights in FP32, to 8.5 and 8.6.
``implicit`` takes model.fp32.onnx with dynamic_ranges.json and float_layers.json to TensorRT 8.5 to
10; later ones have no such mode. It needs the tensorrt package, and a GPU like the one that is to
run the engine.

This file is copied into every bundle, so it imports nothing of the package that wrote it, and runs
in the Pythons of older deployments too (3.8).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tensorrt_api import (
        IBuilderConfig,
        IConstantLayer,
        IHostMemory,
        ILayer,
        INetworkDefinition,
        NetworkDefinitionCreationFlag,
        TensorRT,
    )

BUNDLE = Path(__file__).resolve().parent


def main(argv: Sequence[str] | None = None) -> int:
    modes: dict[str, Callable[[TensorRT], IHostMemory]] = {
        "explicit": explicit,
        "implicit": implicit,
    }
    parser = argparse.ArgumentParser(description="Build a TensorRT engine from this bundle.")
    parser.add_argument("mode", choices=modes)
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: MODE.engine here")
    options = parser.parse_args(argv)
    try:
        trt = cast("TensorRT", importlib.import_module("tensorrt"))
    except (ImportError, OSError) as error:  # OSError: a library of it cannot be loaded
        print(f"error: TensorRT is not here ({error}). Install its Python package", file=sys.stderr)
        return 2
    out = options.out or BUNDLE / f"{options.mode}.engine"
    try:
        out.write_bytes(modes[options.mode](trt))
    except (RuntimeError, OSError, TypeError) as error:  # TypeError: trt.Builder without a GPU
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(out)
    return 0


def explicit(trt: TensorRT) -> IHostMemory:
    """The Q/DQ file; float layers run in FP32, as they did where the accuracy was measured."""
    flags = trt.NetworkDefinitionCreationFlag
    if _major(trt) >= 10:
        return _build(trt, "model.qdq.onnx", [flags.STRONGLY_TYPED], lambda network, config: None)
    return _build(
        trt,
        "model.qdq.tensorrt8.onnx",
        [flags.EXPLICIT_BATCH],
        lambda network, config: config.set_flag(trt.BuilderFlag.INT8),
    )


def implicit(trt: TensorRT) -> IHostMemory:
    """The FP32 file, our ranges, and the float layers held to FP32.

    Constants and what is shuffled of them have no name in the file: their ranges follow, or
    TensorRT would leave the layers that read them out of INT8.
    """
    if _major(trt) > 10:
        raise RuntimeError(f"TensorRT {trt.__version__} takes no ranges. Use explicit instead")
    ranges = json.loads((BUNDLE / "dynamic_ranges.json").read_text())
    in_float = json.loads((BUNDLE / "float_layers.json").read_text())
    # Of the layers that one node becomes, some are named after it, one makes its outputs.
    names = {name for node, outputs in in_float.items() for name in (node, *outputs)}

    def constrain(network: INetworkDefinition, config: IBuilderConfig) -> None:
        config.set_flag(trt.BuilderFlag.INT8)
        if in_float:
            config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        tensors = [network.get_input(i) for i in range(network.num_inputs)]
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
            tensors += outputs
            floats = all(tensor.dtype == trt.float32 for tensor in outputs)
            if floats and names.intersection([layer.name, *(tensor.name for tensor in outputs)]):
                layer.precision = trt.float32
                for i in range(layer.num_outputs):
                    layer.set_output_type(i, trt.float32)
            for tensor in outputs:
                if tensor.name not in ranges and tensor.dtype == trt.float32:
                    follows = _range_of(trt, layer, ranges)
                    if follows is not None:
                        ranges[tensor.name] = follows
        for tensor in tensors:
            if tensor.name in ranges:
                tensor.set_dynamic_range(*ranges[tensor.name])

    old = _major(trt) < 10
    flags = [trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH] if old else []
    return _build(trt, "model.fp32.onnx", flags, constrain)


def _range_of(
    trt: TensorRT, layer: ILayer, ranges: Mapping[str, Sequence[float]]
) -> Sequence[float] | None:
    """That of a constant's values, or of what is shuffled; None for other layers."""
    if layer.type == trt.LayerType.SHUFFLE:
        return ranges.get(layer.get_input(0).name)
    if layer.type != trt.LayerType.CONSTANT:
        return None
    layer.__class__ = trt.IConstantLayer  # the bindings give the base class
    largest = float(abs(cast("IConstantLayer", layer).weights).max()) or 1.0
    return (-largest, largest)


def _major(trt: TensorRT) -> int:
    return int(trt.__version__.split(".")[0])


def _build(
    trt: TensorRT,
    file: str,
    flags: list[NetworkDefinitionCreationFlag],
    configure: Callable[[INetworkDefinition, IBuilderConfig], None],
) -> IHostMemory:
    """In one function, as the weights that the network reads live as long as the parser."""
    log = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(log)
    network = builder.create_network(sum(1 << int(flag) for flag in flags))
    parser = trt.OnnxParser(network, log)
    if not parser.parse((BUNDLE / file).read_bytes()):
        raise RuntimeError(f"TensorRT cannot parse {file} ({parser.get_error(0)})")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    configure(network, config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("TensorRT built no engine: its messages above say why")
    return plan


if __name__ == "__main__":
    sys.exit(main())
