"""What statistics cost: one pass with them against one without."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from time import perf_counter

import onnxruntime as ort

from tests.benchmarks.scenes import Scenes
from tests.benchmarks.subject import PLACEMENTS, Images, Subject, collect

BARE = "bare"


@dataclass(frozen=True)
class Spread:
    """Median, least and largest of what the rounds gave."""

    median: float
    least: float
    largest: float


def spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def pass_times(subject: Subject, scenes: Scenes, size: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of the bare FP32 pass and of the passes with statistics, of every round.

    The three take turns and each round begins with another one, so that a drift of the machine's
    speed hits all alike. Each opens its session on its own clock and normalises the same images.
    """

    def run(side: str, images: int) -> None:
        if side == BARE:
            bare_pass(content, subject.model.input_name, scenes, images)
        else:
            collect(subject.model, subject.tensors[side], scenes, images)

    content = subject.model.proto.SerializeToString()
    sides = [BARE, *PLACEMENTS]
    for side in sides:
        run(side, 1)  # compiles or loads the kernels
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds):
        first = turn % len(sides)
        for side in sides[first:] + sides[:first]:
            begin = perf_counter()
            run(side, size)
            seconds[side].append(perf_counter() - begin)
    return seconds


def bare_pass(content: bytes, input_name: str, images: Images, size: int) -> None:
    """ONNX Runtime as it comes: default options, the model's own outputs, image by image."""
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    for index in range(size):
        session.run(None, {input_name: images(index)})


def paired_ratios(seconds: dict[str, list[float]]) -> dict[str, Spread]:
    """Each placement's seconds over the bare pass's of the same round."""
    return {
        name: spread([mine / bare for mine, bare in zip(seconds[name], seconds[BARE], strict=True)])
        for name in PLACEMENTS
    }
