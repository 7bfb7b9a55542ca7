"""Which layers lose most: ONNX Runtime's comparison of activations, and ``diagnose`` of ours.

Theirs, as ``qdq_loss_debug`` documents it: one ``quantize_static``, both networks with every
activation as an output, all activations of all images, and one error per tensor with INT8 up to
there. Ours: calibration, each layer alone in INT8, every layer but one, blocks, and every tensor.
Both on as many images, from the FP32 file on; every process is fresh, and ours has an empty cache.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    create_activation_matching,
    modify_model_output_intermediate_tensors,
)

from bench.cli.compose import build_run
from bench.model.graph import Graph
from bench.quantization.plan import PrecisionPlan, place
from bench.run.diagnose import DiagnosisSettings, diagnose
from tests.benchmarks.by_onnxruntime import Reader, pre_process, quantize_one
from tests.benchmarks.isolated import Ended, isolated
from tests.benchmarks.scenes import Scenes, draw_scenes
from tests.benchmarks.subject import Subject
from tests.composing import composed

SHOWN = 3
"""The worst of each side are stored."""


@dataclass(frozen=True)
class Side:
    """``judged`` counts the layers of ours, or the tensors of theirs, that got an error; ``worst``
    names some, the largest error first. ``outcome`` is "done", or what happened instead."""

    seconds: float
    peak_mb: float
    judged: int
    worst: tuple[str, ...]
    outcome: str


@dataclass(frozen=True)
class Diagnoses:
    """Both on the same number of images."""

    images: int
    ours: Side
    theirs: Side


def compare_diagnoses(
    subject: Subject, words: Sequence[str], images: int, limit_mb: float
) -> Diagnoses:
    """``words`` compose the run that ours diagnoses."""
    graph = Graph(subject.model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    operators = sorted({graph.nodes[edge.node].op_type for edge in points.edges})
    theirs = isolated(
        match_activations, subject.model.path, subject.model.input_name,
        draw_scenes(subject.size, images), images, operators, limit_mb=limit_mb,
    )  # fmt: skip
    return Diagnoses(images, _side(isolated(rank_layers, tuple(words), images)), _side(theirs))


def _side(ended: Ended[tuple[str, ...]]) -> Side:
    names = ended.result or ()
    outcome = ended.trouble or "done"
    return Side(ended.seconds, ended.peak_mb, len(names), names[:SHOWN], outcome)


def rank_layers(words: tuple[str, ...], images: int) -> tuple[str, ...]:
    """Ours: the layers, those with the most noise alone in INT8 first."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = [f"calibration.size={images}", f"evaluation.images={images}"]
        run = build_run(composed(*words, *sizes, f"sweep.cache={folder}"))
        rule = run.calibrator
        found = diagnose(run, DiagnosisSettings(rule.name, {rule.name: rule}, images))
    noise = {
        layer.name: max(effect.noise or 0.0 for effect in layer.only.values())
        for layer in found.layers
    }
    return tuple(sorted(noise, key=lambda name: -noise[name]))


def match_activations(
    path: Path, input_name: str, scenes: Scenes, images: int, operators: list[str]
) -> tuple[str, ...]:
    """Theirs: the tensors, those with the lowest SQNR (its default error, in dB) first."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as named, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(named)
        prepared, quantized = folder / "prepared.onnx", folder / "quantized.onnx"
        pre_process(path, prepared)
        quantize_one(prepared, input_name, scenes, images, "MinMax", operators, quantized, None)
        activations = []
        for file in (quantized, prepared):
            every = folder / f"every_{file.name}"
            modify_model_output_intermediate_tensors(str(file), str(every))
            activations.append(collect_activations(str(every), Reader(input_name, scenes, images)))
        errors = compute_activation_error(create_activation_matching(*activations))
    decibels = {name: _db(error.get("xmodel_err")) for name, error in errors.items()}
    known = {name: value for name, value in decibels.items() if not math.isnan(value)}
    return tuple(sorted(known, key=lambda name: known[name]))


def _db(error: object) -> float:
    return float(error) if isinstance(error, (int, float)) else math.nan
