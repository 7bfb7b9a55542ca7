"""The FP32 network run over images, every tensor's values counted as they appear.

Every worker runs the network on a different image and adds its values to the statistics, which do
not depend on the order: on two cores this takes two thirds of the time of one image on both cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from bench.calibration.statistics import TensorStatistics
from bench.calibration.tap import Tap, TappedNetwork
from bench.model.onnx_model import OnnxModel

MOST_WORKERS = 4
"""Most workers: each needs memory, and more of them would not be worth it."""

GROUP = 2
"""Images whose tensors are counted at once: adding histograms takes as long as filling them."""


class ImagePass:
    """A context manager that runs ``model`` on images with one worker per core.

    ``image`` gives input number i, (1, 3, height, width) float32; ``count`` is how many are to be
    run, at most. Of ``tensors`` the values are looked at.
    """

    def __init__(
        self,
        model: OnnxModel,
        tensors: Sequence[str],
        image: Callable[[int], npt.NDArray[np.float32]],
        count: int,
    ) -> None:
        cores = len(os.sched_getaffinity(0))
        workers = min(cores, MOST_WORKERS, count)
        network = TappedNetwork(model, tensors, threads=cores // workers)
        self._image = image
        self._taps: SimpleQueue[Tap] = SimpleQueue()
        for number in range(workers):
            # Two workers in step would wait for each other at every tensor.
            self._taps.put(Tap(network, GROUP, backwards=number % 2 == 1))
        self._pool = ThreadPoolExecutor(workers)

    def __enter__(self) -> ImagePass:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def add(
        self, numbers: range, statistics: Mapping[str, TensorStatistics], first: int = 0
    ) -> None:
        """Add the images of these numbers to the statistics, which begin with number ``first``.

        Raises DataError for an activation that is not finite.
        """

        def take(group: range) -> None:
            images = [self._image(index) for index in group]
            with self._borrowed() as tap:
                for name, number, values in tap.run(images):
                    statistics[name].update_images(values, group[number] - first)

        starts = range(numbers.start, numbers.stop, GROUP)
        groups = [range(start, min(start + GROUP, numbers.stop)) for start in starts]
        for _ in self._pool.map(take, groups):
            pass  # the first group that fails, in their order, raises here

    @contextmanager
    def _borrowed(self) -> Iterator[Tap]:
        tap = self._taps.get()
        try:
            yield tap
        finally:
            self._taps.put(tap)
