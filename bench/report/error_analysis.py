"""Where INT8 loses, as a report shows it: the recommended run, the worst run, one line per other.

Read from the files beside the rows; older runs without such a file are left out.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import DataError
from bench.evaluation.interval import FEWEST_IMAGES
from bench.report.confidence import ConfidenceShift, shift_of
from bench.report.result import Result
from bench.report.summary import Answer, Summary
from bench.report.wording import interval, plural
from bench.results.error_analysis import LONGER_SIDE, Example, Losses, LossStore, Part, View
from bench.sealed import warn

FEW = 20
"""Images of a class below which the size of a difference is uncertain, whatever the interval.

The interval resamples images: thirty objects in one image give it no width. Where images were not
counted, objects are used instead.
"""

SHOWN_CLASSES = 8
MOST_NAMES = 6
"""Most labels in a small picture: more would hide each other and the picture."""
MOST_PICTURE_BYTES = 1_000_000
"""Most pictures on a page of many models; later examples are described in words only."""


@dataclass(frozen=True)
class PartLine:
    """A class or a size in the table."""

    part: Part

    @property
    def few(self) -> bool:
        return self._shown_by < FEW

    @property
    def unclear(self) -> bool:
        """Whether there are too few images to say anything: no difference is clear on them."""
        clear = self.verdict.startswith(("a loss", "a gain"))
        return self.few and not clear

    @property
    def _shown_by(self) -> int:
        return self.part.count if self.part.images is None else self.part.images

    @property
    def interval(self) -> str:
        return interval(self.part.low, self.part.high, missing="")

    @property
    def verdict(self) -> str:
        """The verdict on the difference; also on few images, where it is clear."""
        if self._shown_by < FEWEST_IMAGES:
            return "too few images"
        on_few = f", on {self._shown_by} images only" if self.few else ""
        if self.part.high is not None and self.part.high < 0:
            return f"a loss{on_few}"
        if self.part.low is not None and self.part.low > 0:
            return f"a gain{on_few}"
        return "" if self.part.low is None else f"not proven{on_few}"


@dataclass(frozen=True)
class Side:
    """One system's view of an example, with a text for readers who cannot see it."""

    system: str
    view: View

    @property
    def names_fit(self) -> bool:
        """Whether the names of wrong and missed objects fit into the picture."""
        return sum(box.kind != "right" for box in self.view.boxes) <= MOST_NAMES

    @property
    def label(self) -> str:
        mistakes = [
            f"{kind}: {', '.join(box.label for box in self.view.boxes if box.kind == kind)}"
            for kind in ("missed", "wrong")
            if any(box.kind == kind for box in self.view.boxes)
        ]
        return "; ".join([f"{self.system}: {self.view.says}", *mistakes])


@dataclass(frozen=True)
class Picture:
    """An example; ``width`` and ``height`` are the units in which its boxes are drawn."""

    example: Example
    width: int
    height: int

    @property
    def sides(self) -> tuple[Side, Side]:
        return Side("FP32", self.example.fp32), Side("INT8", self.example.int8)

    @property
    def has_boxes(self) -> bool:
        return bool(self.example.fp32.boxes or self.example.int8.boxes)


@dataclass(frozen=True)
class EncodedPicture:
    """A picture's size on the page, and its JPEG file in base64."""

    width: int
    height: int
    jpeg: str


@dataclass(frozen=True)
class RunLosses:
    """One run's losses: classes worst first, classes with too few images last."""

    role: str
    result: Result
    losses: Losses
    shift: ConfidenceShift | None

    @property
    def sizes(self) -> tuple[PartLine, ...]:
        return tuple(map(PartLine, self.losses.sizes))

    @property
    def classes(self) -> tuple[PartLine, ...]:
        return tuple(sorted(map(PartLine, self.losses.classes), key=_worst_first))

    @property
    def worst_class(self) -> Part | None:
        lines = self.classes
        return lines[0].part if lines and not lines[0].unclear else None

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(map(_picture, self.losses.examples))

    @property
    def counts(self) -> str:
        """On how many images INT8 makes more mistakes, and on how many fewer."""
        what = (
            ""
            if self.losses.threshold is None
            else (f" at confidence {self.losses.threshold:.2f} (best for FP32)")
        )
        return (
            f"INT8{what} makes more mistakes than FP32 on {plural(self.losses.worse, 'image')} and "
            f"fewer on {self.losses.better}."
        )


@dataclass(frozen=True)
class GroupLosses:
    """One (model, dataset, engine): runs shown in full, and one line for every other run."""

    title: str
    metric: str
    unit: str
    shown: tuple[RunLosses, ...]
    others: tuple[RunLosses, ...]

    @property
    def size_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.name for run in self.others for part in run.losses.sizes))


def find_losses(
    summary: Summary, store: LossStore, groups: int | None = None, runs: int | None = None
) -> tuple[GroupLosses, ...]:
    """The losses of every group that has a file in ``store``: at most the first ``groups`` groups,
    and per group the ``runs`` that lose least and the one that loses most."""
    losses_by_group = (_group(answer, store, runs) for answer in summary.answers[:groups])
    return tuple(group for group in losses_by_group if group is not None)


def encode_pictures(groups: Sequence[GroupLosses], store: LossStore) -> dict[str, EncodedPicture]:
    """The shown pictures by name, as far as the page has room for them."""
    encoded: dict[str, EncodedPicture] = {}
    room = MOST_PICTURE_BYTES
    for picture in (p for group in groups for run in group.shown for p in run.pictures):
        name = picture.example.picture
        jpeg = None if name in encoded else store.picture(name)
        if jpeg is not None and room > 0:
            text = base64.b64encode(jpeg).decode()
            encoded[name] = EncodedPicture(picture.width, picture.height, text)
            room -= len(text)
    return encoded


def _group(answer: Answer, store: LossStore, runs: int | None) -> GroupLosses | None:
    losses: dict[str, Losses | None] = {}

    def load(result: Result) -> Losses | None:
        if result.run_key not in losses:
            losses[result.run_key] = _load_or_warn(result.run_key, store)
        return losses[result.run_key]

    stored = [result for result in answer.results if store.has(result.run_key)]
    worst = next((result for result in reversed(stored) if load(result) is not None), None)
    if worst is None:
        return None
    roles = {worst.run_key: "Most lossy", answer.best.run_key: "Recommended"}
    runs_with_losses = [
        RunLosses(roles.get(result.run_key, ""), result, of_run, shift_of(result.rows[0]))
        for place, result in enumerate(stored)
        if (runs is None or place < runs or result.run_key in roles)
        and (of_run := load(result)) is not None
    ]
    shown = sorted(
        (run for run in runs_with_losses if run.role), key=lambda run: run.role != "Recommended"
    )
    return GroupLosses(
        answer.group, answer.metric, runs_with_losses[0].losses.unit, tuple(shown),
        tuple(run for run in runs_with_losses if not run.role)[::-1],
    )  # fmt: skip


def _load_or_warn(run_key: str, store: LossStore) -> Losses | None:
    """None where a run's file is damaged; a warning says so."""
    try:
        return store.load(run_key)
    except DataError as error:
        warn(str(error))
        return None


def _worst_first(line: PartLine) -> tuple[bool, float]:
    return line.unclear, line.part.delta


def _picture(example: Example) -> Picture:
    scale = LONGER_SIDE / max(example.width, example.height)
    return Picture(example, round(example.width * scale), round(example.height * scale))
