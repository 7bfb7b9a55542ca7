"""How a network wants its images, tried: ways of fitting and scaling them, ranked by the metric, or
by how sure and consistent the network is where there are no labels.

A wrong scale or order of colours makes a network worse by far; fits differ by less. So first every
scale is tried with the usual fit on few images, then the leading scales with every fit on more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.prepared import PreparedImages
from bench.data.preprocess import Preprocess
from bench.engine.base import Array, Session
from bench.evaluation.estimate import Replicates
from bench.evaluation.interval import half_samples
from bench.model.detections import Detections
from bench.model.heads.base import DetectionHead, Head
from bench.model.heads.suppression import Suppression
from bench.run.measure import evaluate, fp32_model, task_of, validation_images
from bench.run.spec import Run

FIRST_IMAGES = 16
"""Seen with every scale; the leading ones see all images of the run."""
FIRST_UNLABELLED = 32
CERTAIN = 0.25
"""The score above which a detection counts, where there are no labels."""
MOST_SCALES = 3
"""Scales besides the leading one that see all images, where the first do not tell them apart."""
SCALES_IN_BGR = 2
"""The leading scales that are also tried with the other order of colours."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
Pair = tuple[Sequence[Array], Sequence[Array]]
"""Outputs of an image, and of its mirror image."""

SCALES: dict[str, dict[str, Any]] = {
    "0 to 1": {"scale": 1 / 255, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
    "0 to 255": {"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
    "ImageNet mean and std": {"scale": 1 / 255, "mean": _IMAGENET[0], "std": _IMAGENET[1]},
    "-1 to 1": {"scale": 1 / 255, "mean": _HALF[0], "std": _HALF[1]},
}


@dataclass(frozen=True, eq=False)
class Tried:
    """A preprocessing, what the network made of the images with it, and how sure that is.

    ``scaling`` is the scale with the order of colours, ``usual`` whether the fit is the one that
    models with its head usually have. ``value`` is the metric, a fraction; without labels it is the
    information in nats (see ``information``) or how far mirrored images agree. ``halves``
    (HALVES,) are its values on half-samples of the ``n_images``.
    """

    scaling: str
    fit: str
    usual: bool
    preprocess: Preprocess
    value: float
    halves: Replicates = field(repr=False)
    n_images: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """What was tried on all images, best first, and on the first images only."""

    metric: str
    labelled: bool
    leading: tuple[Tried, ...]
    first: tuple[Tried, ...]

    @property
    def best(self) -> Tried:
        """What to use: the usual fit with the leading scale, unless another fit is better."""
        first = self.leading[0]
        same = (own for own in self.leading if own.scaling == first.scaling and own.usual)
        usual = next(same, first)
        return first if _ahead(first, usual) >= SURE else usual

    @property
    def sureness(self) -> float:
        """The share of half-samples in which the best scale and order of colours is ahead of every
        other, at least: in [0, 1]. Halves are harder to decide by than all images."""
        best, seen = self.best, {own.scaling for own in self.leading}
        shares = [_ahead(best, own) for own in self.leading if own.scaling != best.scaling]
        early = next(own for own in self.first if own.scaling == best.scaling)
        shares += [_ahead(early, own) for own in self.first if own.scaling not in seen]
        return min(shares, default=1.0)

    @property
    def as_good(self) -> tuple[Tried, ...]:
        """What these images do not tell from the best: behind it in fewer than 19 of 20 halves."""
        best = self.best
        return tuple(own for own in self.leading if own is not best and _ahead(best, own) < SURE)


SURE = 0.95


def _ahead(one: Tried, other: Tried) -> float:
    """The share of half-samples in which ``one`` is ahead, of the same images."""
    return float(np.mean(np.nan_to_num(one.halves) > np.nan_to_num(other.halves)))


def search_preprocessing(run: Run, report: Callable[[str], None] = lambda _: None) -> Ranking:
    """Try the usual ways on the run's validation images; the run's own is the usual fit.

    Labels are used where the dataset has them. Raises DataError for images that cannot be read and
    EngineError for a network that cannot be run.
    """
    usual, labelled = run.model.preprocess, _is_labelled(run)
    first_count = FIRST_IMAGES if labelled else FIRST_UNLABELLED
    few = _with_images(run, min(run.n_images, first_count))
    with run.baseline_engine.build(fp32_model(run)) as session:

        def attempt(of: Run, scaling: str, fit: str, preprocess: Preprocess) -> Tried:
            report(f"{scaling}, {fit}")
            value, halves = _measure(_with_preprocess(of, preprocess), session, labelled)
            is_usual = fit == fit_name(usual)
            return Tried(scaling, fit, is_usual, preprocess, value, halves, of.n_images)

        first = [
            attempt(few, f"{scale}, RGB", fit_name(usual), replace(usual, color="rgb", **options))
            for scale, options in SCALES.items()
        ]
        first.sort(key=lambda own: own.value, reverse=True)
        for own in first[:SCALES_IN_BGR]:
            turned = own.scaling.replace("RGB", "BGR")
            first.append(
                attempt(few, turned, fit_name(usual), replace(own.preprocess, color="bgr"))
            )
        first.sort(key=lambda own: own.value, reverse=True)
        best = first[0]
        open_still = [own for own in first[1:] if _ahead(best, own) < SURE][:MOST_SCALES]
        leading = [
            attempt(run, own.scaling, fit, preprocess)
            for own in (best, *open_still)
            for fit, preprocess in _fits(own.preprocess, run.model.head, labelled and own is best)
        ]
        leading.sort(key=lambda own: own.value, reverse=True)
    metric = task_of(run).metric if labelled else _UNLABELLED[run.model.head.task]
    return Ranking(metric, labelled, tuple(leading), tuple(first))


_UNLABELLED = {
    "classification": "information (nats), the same for mirrored images",
    "detection": "what an image and its mirror image show alike (0 to 1)",
}


def information(probabilities: npt.NDArray[np.float64], weights: npt.NDArray[Any]) -> Replicates:
    """Mutual information of image and class, in nats: (resamples,) of ``weights`` (resamples, n).

    ``probabilities`` (n, classes). A network that reads its images right is sure of each, and of
    different classes; wrong scales make it unsure, or sure of one class whatever the image. The
    entropy of the mean minus the mean entropy (J. S. Bridle et al., Unsupervised classifiers,
    mutual information and phantom targets, 1991).
    """
    shares = weights / weights.sum(axis=1, keepdims=True)
    mean = shares @ probabilities
    own = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    found: Replicates = -(mean * np.log(np.maximum(mean, 1e-12))).sum(axis=1) - shares @ own
    return found


def _is_labelled(run: Run) -> bool:
    if run.model.head.task == "detection":
        return run.dataset.boxes is not None
    return run.dataset.labels is not None


def _with_images(run: Run, count: int) -> Run:
    return replace(run, measurement=replace(run.measurement, images=count))


def _fits(preprocess: Preprocess, head: Head, every: bool) -> list[tuple[str, Preprocess]]:
    """The usual fit, and where ``every`` is asked for the others: of a classifier also what is
    often cut out, 7/8 of the shorter side (224 of 256)."""
    known: dict[str, Preprocess] = {fit_name(preprocess): preprocess}
    if every:
        whole = replace(preprocess, fit="resize_crop", resize=None)
        side = max(preprocess.size)
        others = [replace(preprocess, fit="stretch"), replace(preprocess, fit="letterbox"), whole]
        if head.task == "classification":
            others += [replace(whole, resize=round(side * 8 / 7))]
        for other in others:
            known.setdefault(fit_name(other), other)
    return list(known.items())


def fit_name(preprocess: Preprocess) -> str:
    if preprocess.fit != "resize_crop":
        return preprocess.fit
    side = preprocess.resize or max(preprocess.size)
    return f"shorter side {side}, centre cut"


def _with_preprocess(run: Run, preprocess: Preprocess) -> Run:
    return replace(run, model=replace(run.model, preprocess=preprocess))


def _measure(run: Run, session: Session, labelled: bool) -> tuple[float, Replicates]:
    """The value on all of the run's images, and on half-samples of them."""
    images = validation_images(run)
    if labelled:
        score = task_of(run).score(evaluate(run, session, images).predictions)
        return score.value, score.replicates
    return _judge(run, _with_mirrored(run, session, images))


def _with_mirrored(run: Run, session: Session, images: PreparedImages) -> list[Pair]:
    """The outputs of every image and of its mirror image."""
    size = run.measurement.batch_size
    seen: list[Pair] = []
    for start in range(0, len(images), size):
        batch = images.batch(start, size)
        both = session.run(batch), session.run(np.ascontiguousarray(batch[..., ::-1]))
        for offset in range(min(size, len(images) - start)):
            of_image, of_mirrored = ([out[offset] for out in outputs] for outputs in both)
            seen.append((of_image, of_mirrored))
    return seen


def _judge(run: Run, seen: Sequence[Pair]) -> tuple[float, Replicates]:
    """A classifier's information; of a detector how far an image and its mirror image agree."""
    head, halves = run.model.head, half_samples(len(seen))
    if head.task == "classification":
        mixed = np.stack(
            [np.mean([_softmax(head.logits(own)) for own in pair], axis=0) for pair in seen]
        )
        every = np.ones((1, len(seen)), np.int32)
        return float(information(mixed, every)[0]), information(mixed, halves)
    sparing, width = _sparing(head), run.model.network.width
    values = np.array(
        [consistency(sparing.decode(pair[0]), sparing.decode(pair[1]), width) for pair in seen]
    )
    return float(values.mean()), halves @ values / halves.sum(axis=1)


def _sparing(head: DetectionHead) -> DetectionHead:
    """The head without what is below ``CERTAIN``: a wrong scale makes tens of thousands of boxes,
    on which suppression would spend minutes."""
    given: Any = head
    own = getattr(given, "suppression", None)
    if not isinstance(own, Suppression):
        return head
    few = replace(own, score=CERTAIN, most_candidates=1000)
    sparing: DetectionHead = replace(given, suppression=few)
    return sparing


def consistency(found: Detections, mirrored: Detections, width: int) -> float:
    """How far an image and its mirror image show the same, in [0, 1): the scores of boxes of one
    class that overlap by half or more, over the boxes of one of them and one more.

    Wrong scales show little, or much that is not the same.
    """
    here, there = found.scores > CERTAIN, mirrored.scores > CERTAIN
    boxes, others = found.boxes[here], mirrored.boxes[there]
    others = np.column_stack(
        [width - others[:, 2], others[:, 1], width - others[:, 0], others[:, 3]]
    )
    overlap = _overlaps(boxes, others)
    overlap *= found.labels[here][:, None] == mirrored.labels[there][None]
    count, same = max(len(boxes), len(others)), 0.0
    while overlap.size and overlap.max() >= 0.5:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        same += float(min(found.scores[here][row], mirrored.scores[there][column]))
        overlap[row], overlap[:, column] = 0, 0
    return same / (count + 1)


def _overlaps(boxes: Array, others: Array) -> npt.NDArray[np.float64]:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4), x1 y1 x2 y2."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    inside = np.maximum(high - low, 0).prod(axis=2, dtype=np.float64)
    areas = [np.maximum(own[:, 2:] - own[:, :2], 0).prod(axis=1) for own in (boxes, others)]
    union: npt.NDArray[np.float64] = areas[0][:, None] + areas[1][None] - inside
    shares: npt.NDArray[np.float64] = inside / np.maximum(union, 1e-9)
    return shares


def _softmax(logits: Array) -> npt.NDArray[np.float64]:
    """Probabilities; of outputs that are some already, these."""
    values = np.asarray(logits, np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=1e30, neginf=-1e30)
    if (values >= 0).all() and abs(values.sum() - 1) < 1e-3:
        return values
    raised = np.exp(values - values.max())
    shares: npt.NDArray[np.float64] = raised / raised.sum()
    return shares
