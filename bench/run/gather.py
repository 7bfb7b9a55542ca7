"""Predictions of a session on images, batch after batch, in any order of the batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bench.data.prepared import PreparedImages
from bench.engine.base import Array, Session
from bench.evaluation.task import Evidence, Task

Prediction = TypeVar("Prediction")

FIRST_IMAGES = 16
"""The raw outputs of the first 16 images are stored, for SQNR and the faithfulness check."""


class Gathered(Generic[Prediction]):
    """What a session said of the batches that were added.

    Batch b always holds the same images, b * batch_size and the following ones. So a prediction
    does not depend on the order in which batches are added.
    """

    def __init__(self, task: Task[Prediction], images: PreparedImages, batch_size: int) -> None:
        """``task`` decodes; its truth is not read."""
        self._task, self._images, self._size = task, images, batch_size
        self._predictions: dict[int, Prediction] = {}
        self._outputs: dict[int, list[npt.NDArray[np.float32]]] = {}

    @property
    def batches(self) -> int:
        return -(-len(self._images) // self._size)

    def add(self, session: Session, batches: Sequence[int]) -> None:
        """Run the session on these batches."""
        for number, batch in self._read_ahead(batches):
            outputs = session.run(batch)
            for offset, image in enumerate(self.images_of([number])):
                outputs_of_image = [output[offset] for output in outputs]
                fitting = self._images.fittings[image]
                self._predictions[image] = self._task.predict(outputs_of_image, fitting)
                if image < FIRST_IMAGES:
                    self._outputs[image] = [np.array(output) for output in outputs_of_image]

    def images_of(self, batches: Sequence[int]) -> list[int]:
        """The images in these batches, in the order of the batches."""
        starts = (number * self._size for number in batches)
        last = len(self._images)
        return [image for at in starts for image in range(at, min(at + self._size, last))]

    def predictions(self, images: Sequence[int]) -> list[Prediction]:
        """Those of some images that were added."""
        return [self._predictions[image] for image in images]

    def evidence(self) -> Evidence[Prediction]:
        """Of all images, in their order; every batch must have been added."""
        images = range(len(self._images))
        first = [self._outputs[image] for image in images[:FIRST_IMAGES]]
        return Evidence(self.predictions(images), first)

    def _read_ahead(self, batches: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Each batch with its number; the next is prepared while one is processed."""

        def prepare(number: int) -> Future[Array]:
            return pool.submit(self._images.batch, number * self._size, self._size)

        with ThreadPoolExecutor(1) as pool:
            ready = prepare(batches[0]) if batches else None
            for number, following in zip_longest(batches, batches[1:]):
                assert ready is not None
                batch = ready.result()
                ready = None if following is None else prepare(following)
                yield number, batch
