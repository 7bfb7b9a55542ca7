"""The parts of a benchmark, and what they found about one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from tests.benchmarks.by_onnxruntime import EXTRA_OPTIONS
from tests.benchmarks.collection import paired_ratios, pass_times
from tests.benchmarks.diagnosis import Diagnoses, compare_diagnoses
from tests.benchmarks.evaluation import Evaluation, evaluation_times, exact_over_fp32, words_of
from tests.benchmarks.memory import Memory, growth, memory_of, peak
from tests.benchmarks.peer import Comparison, compare
from tests.benchmarks.scale import Scale, scale_of
from tests.benchmarks.scenes import draw_scenes
from tests.benchmarks.subject import PLACEMENTS, Subject, collect
from tests.benchmarks.thresholds import threshold_times

Sizes = tuple[int, ...]

DIAGNOSIS_IMAGES = 32
"""The default of ``diagnose``."""


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    images: int = 128
    rounds: int = 5
    memory_sizes: Sizes = (8, 32, 64, 192)
    peer_sizes: Sizes = (8, 32, 64)
    scale_sizes: Sizes = (8, 16, 32, 64, 128)
    peer_memory_limit_mb: float = 16000
    evaluate: tuple[str, ...] = ()
    """Hydra overrides: which dataset a model that is not embedded is evaluated on."""


@dataclass(frozen=True)
class Found:
    """What is known of one model: a field for every part, None until it is measured."""

    subject: Subject
    options: Options
    collection: dict[str, list[float]] | None = None
    memory: list[Memory] | None = None
    thresholds: dict[str, dict[str, float]] | None = None
    peer: Comparison | None = None
    scale: Scale | None = None
    evaluation: dict[str, Evaluation] | None = None
    diagnosis: Diagnoses | None = None

    def with_part(self, part: str) -> Found:
        """The same with one of ``PARTS`` measured."""
        return replace(self, **{part: PARTS[part](self.subject, self.options)})

    def figures(self) -> dict[str, Any]:
        """The figures to quote; None where they were not measured."""
        found: dict[str, Any] = dict.fromkeys(KEYS)
        if self.collection:
            for name, own in paired_ratios(self.collection).items():
                found[f"collect_ratio_{name}"] = own.median
        if self.memory:
            largest = max(self.options.memory_sizes)
            found["collect_peak_memory_mb"] = peak(self.memory, "explicit", largest)
            grown = {name: growth(self.memory, name, 8, 192) for name in PLACEMENTS}
            found["memory_ratio_192_to_8"] = max(filter(None, grown.values()), default=None)
            found |= {f"memory_ratio_192_to_8_{name}": own for name, own in grown.items()}
        if self.thresholds:
            found["entropy_ms_per_tensor"] = self.thresholds["explicit"]["entropy2"]
        if self.evaluation:
            for name, one in self.evaluation.items():
                found[f"evaluation_ratio_{name}"] = one.ratio.median
            found["exact_over_fp32"] = exact_over_fp32(self.evaluation).median
        if self.peer:
            for suffix, in_chunks in _ways(self.peer).items():
                time, memory = self.peer.time(in_chunks), self.peer.memory(in_chunks)
                for key, ratio in (("peer_time_ratio", time), ("peer_memory_ratio", memory)):
                    found[key + suffix] = ratio.value
                    found[f"{key}{suffix}_is_lower_bound"] = ratio.is_lower_bound
        return found

    def details(self) -> dict[str, Any]:
        """The figures, and all that was measured behind them."""
        return self.figures() | {
            "tensors": {name: len(tensors) for name, tensors in self.subject.tensors.items()},
            "collection_seconds": self.collection,
            "memory": [asdict(one) for one in self.memory] if self.memory else None,
            "threshold_ms_per_tensor": self.thresholds,
            "peer": asdict(self.peer) | {"extra_options": EXTRA_OPTIONS} if self.peer else None,
            "scale": asdict(self.scale) if self.scale else None,
            "evaluation": {name: asdict(one) for name, one in (self.evaluation or {}).items()},
            "diagnosis": asdict(self.diagnosis) if self.diagnosis else None,
        }


def _ways(peer: Comparison) -> dict[str, bool]:
    return {"": False} | ({"_in_chunks": True} if peer.has_chunks else {})


def _collection(subject: Subject, options: Options) -> dict[str, list[float]]:
    scenes = draw_scenes(subject.size, options.images)
    return pass_times(subject, scenes, options.images, options.rounds)


def _memory(subject: Subject, options: Options) -> list[Memory]:
    return memory_of(subject, options.memory_sizes)


def _thresholds(subject: Subject, options: Options) -> dict[str, dict[str, float]]:
    scenes = draw_scenes(subject.size, options.images)
    return {
        name: threshold_times(
            collect(subject.model, tensors, scenes, options.images), options.rounds
        )
        for name, tensors in subject.tensors.items()
    }


def _peer(subject: Subject, options: Options) -> Comparison:
    return compare(subject, options.peer_sizes, options.peer_memory_limit_mb)


def _scale(subject: Subject, options: Options) -> Scale:
    sizes = options.scale_sizes
    return scale_of(subject, sizes, sizes[len(sizes) // 2], min(options.rounds, 3))


def _evaluation(subject: Subject, options: Options) -> dict[str, Evaluation] | None:
    return evaluation_times(subject, options.images, options.rounds, options.evaluate)


def _diagnosis(subject: Subject, options: Options) -> Diagnoses | None:
    words = words_of(subject, options.evaluate)
    images = min(options.images, DIAGNOSIS_IMAGES)
    limit = options.peer_memory_limit_mb
    return None if words is None else compare_diagnoses(subject, words, images, limit)


PARTS: dict[str, Callable[[Subject, Options], Any]] = {
    "collection": _collection,
    "memory": _memory,
    "thresholds": _thresholds,
    "peer": _peer,
    "scale": _scale,
    "evaluation": _evaluation,
    "diagnosis": _diagnosis,
}
"""By their names on the command line; those of the fields of ``Found``."""

KEYS = (
    "collect_ratio_explicit",
    "collect_ratio_implicit",
    "collect_peak_memory_mb",
    "entropy_ms_per_tensor",
    "peer_time_ratio",
    "peer_memory_ratio",
    "memory_ratio_192_to_8",
    "evaluation_ratio_int8",
    "evaluation_ratio_fp32",
    "exact_over_fp32",
)
"""What stands at the top of the file, of the embedded model."""
