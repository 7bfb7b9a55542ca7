"""How collection grows with the images and with the tensors, and how straight that line is."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bench.model.graph import Graph
from tests.benchmarks.scenes import draw_scenes
from tests.benchmarks.subject import PLACEMENTS, Subject, collect

PARTS = 4
"""The tensors come in so many equal shares, each spread over the whole depth of the network."""


@dataclass(frozen=True)
class Line:
    """Median ``seconds`` at each ``x``, and the straight line of least squares through them."""

    x: list[int]
    seconds: list[float]
    slope: float
    intercept: float
    r2: float


@dataclass(frozen=True)
class Scale:
    """Lines by placement over the number of images, and one over the number of tensors."""

    by_images: dict[str, Line]
    by_tensors: Line
    images_of_tensors: int


def fit(x: list[int], seconds: list[float]) -> Line:
    """The line through two points or more; of one point, a level one that says nothing."""
    if len(x) < 2:
        return Line(x, seconds, 0.0, seconds[0], 1.0)
    slope, intercept = np.polyfit(x, seconds, 1)
    rest = np.asarray(seconds) - (slope * np.asarray(x) + intercept)
    whole = np.asarray(seconds) - np.mean(seconds)
    return Line(
        x, seconds, float(slope), float(intercept), float(1 - rest @ rest / (whole @ whole))
    )


def looked_at(subject: Subject) -> tuple[str, ...]:
    """The tensors of implicit placement, less those that others make up, as in a Concat."""
    graph = Graph(subject.model)
    parts = (part for name in subject.tensors["implicit"] for part in graph.parts(name))
    return tuple(dict.fromkeys(parts))


def scale_of(subject: Subject, sizes: tuple[int, ...], images: int, rounds: int) -> Scale:
    """``sizes`` for the line over images; ``images`` of them for the line over tensors."""
    scenes = draw_scenes(subject.size, max(sizes))
    every = looked_at(subject)
    shares = [
        tuple(name for index, name in enumerate(every) if index % PARTS < part)
        for part in range(1, PARTS + 1)
    ]
    points = [(subject.tensors[name], size) for name in PLACEMENTS for size in sizes]
    points += [(share, images) for share in shares if share]
    collect(subject.model, every, scenes, 1)  # compiles or loads the kernels
    seconds: list[list[float]] = [[] for _ in points]
    for _ in range(rounds):
        for own, (tensors, size) in zip(seconds, points, strict=True):
            begin = perf_counter()
            collect(subject.model, tensors, scenes, size)
            own.append(perf_counter() - begin)
    medians = [statistics.median(own) for own in seconds]
    lines: dict[str, Line] = {
        name: fit(list(sizes), medians[i * len(sizes) : (i + 1) * len(sizes)])
        for i, name in enumerate(PLACEMENTS)
    }
    rest = len(PLACEMENTS) * len(sizes)
    counts = [len(tensors) for tensors, _ in points[rest:]]
    return Scale(lines, fit(counts, medians[rest:]), images)
