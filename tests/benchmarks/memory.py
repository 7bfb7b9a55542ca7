"""What collection holds: peak resident memory, which must not grow with the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.isolated import isolated, succeeded
from tests.benchmarks.scenes import FEW, Scenes, draw_scenes
from tests.benchmarks.subject import PLACEMENTS, Subject, collect, load_subject


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process that collects over ``size`` images: when it began, and most."""

    placement: str
    size: int
    start_mb: float
    peak_mb: float


def collect_alone(path: Path, placement: str, scenes: Scenes, size: int) -> None:
    """What the fresh process does."""
    subject = load_subject(path)
    collect(subject.model, subject.tensors[placement], scenes, size)


def memory_of(subject: Subject, sizes: tuple[int, ...]) -> list[Memory]:
    """Each size of each placement in a process of its own."""
    path, scenes = subject.model.path, draw_scenes(subject.size, FEW)
    found = []
    for placement in PLACEMENTS:
        for size in sizes:
            ended = succeeded(isolated(collect_alone, path, placement, scenes, size))
            found.append(Memory(placement, size, ended.start_mb, ended.peak_mb))
    return found


def peak(found: list[Memory], placement: str, size: int) -> float | None:
    """MB, or None where that was not measured."""
    return next((m.peak_mb for m in found if (m.placement, m.size) == (placement, size)), None)


def growth(found: list[Memory], placement: str, small: int, large: int) -> float | None:
    """The peak of many images over that of few, or None where one was not measured."""
    below, above = peak(found, placement, small), peak(found, placement, large)
    return None if below is None or above is None else above / below
