"""One FP32 pass over the calibration images serves every calibrator and every size.

Calibration sets are nested prefixes of one seeded shuffle, and statistics can be continued: those
of a size are kept on disk, and a larger size goes on from the largest that is there. So a sweep's
sizes together cost one pass over the largest, in whatever processes they run.

Every worker runs the network on an image of its own and adds what it finds to the statistics, which
do not depend on the order: on two cores that takes two thirds of the time of one image on both. A
tensor whose values are those of others (a concatenation, a transposition) is not looked at again:
its statistics are theirs, joined.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from bench import environment
from bench.cache import content_key, only_one, source_key, write_with
from bench.calibration.snapshot_file import load_snapshots, save_snapshots
from bench.calibration.statistics import Snapshot, TensorStatistics, joined
from bench.calibration.tap import Tap, TappedNetwork
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.sealed import DamagedError, read_sealed, sealed, warn

MOST_WORKERS = 4
"""Each needs memory of its own, which more of them would not repay."""

GROUP = 2
"""Images whose tensors are counted at once: to add up histograms takes as long as to fill them."""

_CODE = source_key("bench.calibration", "bench.model")

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the tensors showed on the first ``size`` images, and the seconds that took.

    ``looked_at`` are the snapshots that the others were made of, to go on from.
    """

    size: int
    snapshots: tuple[Snapshot, ...]
    seconds: float
    looked_at: tuple[Snapshot, ...]


@dataclass(frozen=True)
class Collector:
    """Statistics of ``tensors`` of one model over one ordered sequence of inputs.

    ``image`` gives input number i (1, 3, height, width) float32; ``images_key`` tells the sequence
    (dataset, order, preprocessing, and the code that makes them) apart from every other.
    """

    model: OnnxModel
    tensors: tuple[str, ...]
    image: Callable[[int], Array]
    images_key: str
    folder: Path

    def collect(self, size: int, clock: Callable[[], float]) -> Calibration:
        """Statistics over the first ``size`` inputs; DataError for a non-finite activation."""
        with only_one(self.folder / f".statistics-{self.key}.lock"):
            start = self._largest(size)
            return start if start.size == size else self._extend(start, size, clock)

    def _largest(self, size: int) -> Calibration:
        """The largest that is stored of at most ``size`` inputs; what is damaged is removed."""
        for have in sorted((s for s in self._sizes() if s <= size), reverse=True):
            try:
                return self._load(have)
            except FileNotFoundError:  # someone empties the cache
                continue
            except DamagedError as error:
                warn(f"{error}. It is made again")
                self._path(have).unlink(missing_ok=True)
        return Calibration(0, (), 0.0, ())

    @cached_property
    def key(self) -> str:
        """Changes with everything that can change the statistics."""
        return content_key(
            self.model.sha256, *self.tensors, self.images_key, _CODE,
            environment.versions("numpy", "numba", "onnx", "onnxruntime"), environment.arithmetic(),
        )  # fmt: skip

    def _path(self, size: int) -> Path:
        return self.folder / f"statistics-{self.key}-{size}.npz"

    def _sizes(self) -> list[int]:
        paths = self.folder.glob(f"statistics-{self.key}-*.npz")
        return [int(path.stem.rsplit("-", 1)[1]) for path in paths]

    @cached_property
    def _parts(self) -> dict[str, tuple[str, ...]]:
        """Of every tensor asked for: those that are looked at for its sake."""
        graph = Graph(self.model)
        return {name: graph.parts(name) for name in self.tensors}

    def _extend(self, start: Calibration, size: int, clock: Callable[[], float]) -> Calibration:
        looked_at = tuple(dict.fromkeys(part for own in self._parts.values() for part in own))
        statistics = {name: TensorStatistics(name) for name in looked_at}
        for snapshot in start.looked_at:  # none at the start
            statistics[snapshot.name].restore(snapshot)
        cores = len(os.sched_getaffinity(0))
        workers = min(cores, MOST_WORKERS, size - start.size)
        network = TappedNetwork(self.model, looked_at, threads=cores // workers)
        taps: SimpleQueue[Tap] = SimpleQueue()
        for number in range(workers):
            # Two workers in step would wait for each other at every tensor.
            taps.put(Tap(network, GROUP, backwards=number % 2 == 1))

        def take(group: range) -> None:
            images = [self.image(index) for index in group]
            with _borrowed(taps) as tap:
                for name, number, values in tap.run(images):
                    statistics[name].update_images(values, group[number])

        begin, reached = clock(), start.size
        with ThreadPoolExecutor(workers) as pool:
            # Some sizes are kept in passing: a smaller size asked for later starts there.
            for done in _milestones(start.size, size):
                groups = [range(i, min(i + GROUP, done)) for i in range(reached, done, GROUP)]
                for _ in pool.map(take, groups):
                    pass  # the first group that fails, in their order, raises here
                seconds = start.seconds + clock() - begin
                self._save(done, [one.snapshot() for one in statistics.values()], seconds)
                reached = done
        return self._calibration(size, [one.snapshot() for one in statistics.values()], seconds)

    def _calibration(self, size: int, seen: Sequence[Snapshot], seconds: float) -> Calibration:
        by_name = {snapshot.name: snapshot for snapshot in seen}
        snapshots = (
            by_name[name] if own == (name,) else joined(name, [by_name[part] for part in own])
            for name, own in self._parts.items()
        )
        return Calibration(size, tuple(snapshots), seconds, tuple(seen))

    def _save(self, size: int, seen: Sequence[Snapshot], seconds: float) -> None:
        write_with(
            self._path(size),
            sealed(
                self._path(size),
                lambda file: save_snapshots(file, seen, seconds=np.array(seconds)),
            ),
        )

    def _load(self, size: int) -> Calibration:
        with np.load(io.BytesIO(read_sealed(self._path(size)))) as arrays:
            return self._calibration(size, load_snapshots(arrays), float(arrays["seconds"]))


def _milestones(start: int, size: int) -> Iterator[int]:
    """64, 256, 1024, ... between ``start`` and ``size``, and ``size``.

    To keep one costs as much as a few images, so what costs little is not kept.
    """
    done = 64
    while done < size:
        if done > start:
            yield done
        done *= 4
    yield size


@contextmanager
def _borrowed(taps: SimpleQueue[Tap]) -> Iterator[Tap]:
    tap = taps.get()
    try:
        yield tap
    finally:
        taps.put(tap)
