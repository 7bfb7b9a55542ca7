"""ONNX files and model cards.

Batch normalisation is folded into the convolutions before the export, not by the exporter, so
that every weight keeps a stable name (`model.0.conv.weight`).  Only the batch axis is dynamic.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

OPSET = 17
TOLERANCE = 1e-3


def folded(model: nn.Module) -> nn.Module:
    """A copy in which each BatchNorm2d registered right after a Conv2d is folded into it."""
    model = copy.deepcopy(model).cpu().float().eval().to(memory_format=torch.contiguous_format)
    for parent in list(model.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (bn_name, bn) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, bn))
                setattr(parent, bn_name, nn.Identity())
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise RuntimeError("a batch normalisation has no convolution right before it")
    return model


def write_onnx(model: nn.Module, path: Path, size: int, input_name: str, output_name: str) -> str:
    """Export, check, compare with torch, and only then put in place; returns the SHA-256."""
    plain = folded(model)
    if hasattr(plain, "export"):
        plain.export = True
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.onnx.export(
        plain, (torch.zeros(1, 3, size, size),), str(part), opset_version=OPSET, dynamo=False,
        input_names=[input_name], output_names=[output_name],
        dynamic_axes={input_name: {0: "batch"}, output_name: {0: "batch"}},
    )  # fmt: skip
    graph = onnx.load(str(part))
    with torch.no_grad():
        shape = plain(torch.zeros(1, 3, size, size)).shape
    dims = graph.graph.output[0].type.tensor_type.shape.dim
    for dim, length in zip(dims[1:], shape[1:], strict=True):
        dim.dim_value = length  # the exporter leaves some as invented names
    onnx.save(graph, str(part))
    onnx.checker.check_model(graph, full_check=True)
    _compare(plain, part, size, input_name)
    os.replace(part, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compare(model: nn.Module, path: Path, size: int, input_name: str) -> None:
    """torch and ONNX Runtime agree on a batch of three (skipped without onnxruntime)."""
    try:
        import onnxruntime
    except ImportError:
        print("onnxruntime is not installed: the exported file was not run", flush=True)
        return
    x = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {input_name: x.numpy()})
    # Boxes are in pixels, up to `size`; the tolerance is relative to values above one.
    worst = float(np.max(np.abs(actual - expected) / np.maximum(1, np.abs(expected))))
    print(f"torch and ONNX Runtime differ by at most {worst:.1e}", flush=True)
    if actual.shape != expected.shape or not worst < TOLERANCE:
        raise RuntimeError(f"the exported graph differs from torch by {worst}")


def write_card(path: Path, card: dict[str, object]) -> None:
    part = path.with_suffix(".json.part")
    part.write_text(json.dumps(card, indent=2) + "\n")
    os.replace(part, path)
