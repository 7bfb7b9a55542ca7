"""One FP32 pass over the calibration images serves every calibrator and every size.

Calibration sets are nested prefixes of one seeded shuffle, and statistics can be continued: those
of a size are stored on disk, and a larger size continues from the largest stored one. So all sizes
of a sweep cost one pass over the largest, in any number of processes.

A tensor that only rearranges the values of others (a concatenation, a transposition) is not
observed: its statistics are those of the others, joined.

Processes that need the same statistics at the same time share the pass: the first one processes the
images from the front, the others take shares from the back and store their statistics in the cache.
The sum is that of one pass, bit for bit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import environment
from bench.cache import content_key, only_one, source_key, write_with
from bench.calibration.image_pass import ImagePass
from bench.calibration.snapshot_file import load_snapshots, save_snapshots
from bench.calibration.statistics import Snapshot, TensorStatistics, joined
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.sealed import DamagedError, read_sealed, sealed, warn

SHARE = 64
"""Images per share: storing the statistics of a share costs as much as a few images."""

_CODE = source_key("bench.calibration", "bench.model")

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Calibration:
    """The statistics of the tensors on the first ``size`` images, and the seconds to collect them.

    ``looked_at`` are the snapshots from which the others were made; a larger size continues them.
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
        lock = only_one(self.folder / f".statistics-{self.key}.lock")
        try:
            lock.acquire(timeout=0)
        except TimeoutError:  # another process collects them: take a share
            self._help(size, clock)
            lock.acquire()
        try:
            start = self._largest(size)
            return start if start.size == size else self._extend(start, size, clock)
        finally:
            lock.release()

    def _largest(self, size: int) -> Calibration:
        """The largest that is stored of at most ``size`` inputs; what is damaged is removed."""
        for have in sorted((s for s in self._sizes() if s <= size), reverse=True):
            try:
                return self._load(have)
            except FileNotFoundError:  # the cache is being emptied
                continue
            except DamagedError as error:
                warn(f"{error}. It is made again")
                self._path(have).unlink(missing_ok=True)
        return Calibration(0, (), 0.0, ())

    @cached_property
    def key(self) -> str:
        """A key that changes with everything that can change the statistics."""
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
        """The observed tensors behind every requested tensor."""
        graph = Graph(self.model)
        return {name: graph.parts(name) for name in self.tensors}

    @cached_property
    def _looked_at(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part for parts in self._parts.values() for part in parts))

    def _extend(self, start: Calibration, size: int, clock: Callable[[], float]) -> Calibration:
        """Lead the pass from where ``start`` ends."""
        statistics = {name: TensorStatistics(name) for name in self._looked_at}
        for snapshot in start.looked_at:  # none at the start
            statistics[snapshot.name].restore(snapshot)
        shares, milestones = list(_shares(start.size, size)), set(_milestones(start.size, size))
        seconds, with_others = start.seconds, list[range]()
        with ImagePass(self.model, self._looked_at, self.image, size - start.size) as images:
            for share in shares:
                self._front.write_text(str(share.start))
                try:
                    with self._claim(share, timeout=0):
                        seconds += self._add(share, statistics, images, clock)
                except TimeoutError:
                    with_others.append(share)
                # Some sizes are stored on the way: a smaller size needed later starts there.
                if share.stop in milestones - {size} and not with_others:
                    self._save(self._path(share.stop), statistics, seconds)
            for share in with_others:
                with self._claim(share):  # when it is done, or its process has ended
                    seconds += self._add(share, statistics, images, clock)
        self._save(self._path(size), statistics, seconds)
        for path in [self._front, *map(self._share_path, shares), *map(self._lock_path, shares)]:
            path.unlink(missing_ok=True)
        return self._calibration(size, [one.snapshot() for one in statistics.values()], seconds)

    def _add(
        self,
        share: range,
        statistics: Mapping[str, TensorStatistics],
        images: ImagePass,
        clock: Callable[[], float],
    ) -> float:
        """Add a share that another process left, or run its images; returns the seconds spent."""
        try:
            snapshots, seconds = self._load_snapshots(self._share_path(share))
        except (FileNotFoundError, DamagedError) as error:
            if isinstance(error, DamagedError):
                warn(f"{error}. It is made again")
            begin = clock()
            images.add(share, statistics)
            return clock() - begin
        for snapshot in snapshots:
            statistics[snapshot.name].restore(snapshot, share.start)
        return seconds

    def _help(self, size: int, clock: Callable[[], float]) -> None:
        """Take shares of the pass that another process leads, the last ones first."""
        have = max((s for s in self._sizes() if s <= size), default=0)
        later = list(_shares(have, size))[1:]  # the leader has the first one
        if not later:
            return
        with ImagePass(self.model, self._looked_at, self.image, SHARE) as images:
            for share in reversed(later):
                with suppress(TimeoutError), self._claim(share, timeout=0):
                    if self._needs(share):
                        begin = clock()
                        statistics = {name: TensorStatistics(name) for name in self._looked_at}
                        images.add(share, statistics, share.start)
                        self._save(self._share_path(share), statistics, clock() - begin)

    def _needs(self, share: range) -> bool:
        """Whether a claimed share has not been run by any process."""
        try:
            reached = int(self._front.read_text())
        except (OSError, ValueError):  # the leader has ended
            return False
        return reached < share.start and not self._share_path(share).exists()

    @property
    def _front(self) -> Path:
        """The progress of the process that leads the pass."""
        return self.folder / f".front-{self.key}"

    def _share_path(self, share: range) -> Path:
        return self.folder / f"share-{self.key}-{share.start}-{share.stop}.npz"

    def _lock_path(self, share: range) -> Path:
        path = self._share_path(share)
        return path.with_name(f".{path.name}.lock")

    def _claim(self, share: range, timeout: float = -1) -> AbstractContextManager[object]:
        return only_one(self._lock_path(share)).acquire(timeout=timeout)

    def _calibration(self, size: int, seen: Sequence[Snapshot], seconds: float) -> Calibration:
        by_name = {snapshot.name: snapshot for snapshot in seen}
        snapshots = (
            by_name[name] if parts == (name,) else joined(name, [by_name[part] for part in parts])
            for name, parts in self._parts.items()
        )
        return Calibration(size, tuple(snapshots), seconds, tuple(seen))

    def _save(self, path: Path, statistics: Mapping[str, TensorStatistics], seconds: float) -> None:
        seen = [one.snapshot() for one in statistics.values()]
        write_with(
            path,
            sealed(path, lambda file: save_snapshots(file, seen, seconds=np.array(seconds))),
        )

    def _load(self, size: int) -> Calibration:
        snapshots, seconds = self._load_snapshots(self._path(size))
        return self._calibration(size, snapshots, seconds)

    def _load_snapshots(self, path: Path) -> tuple[tuple[Snapshot, ...], float]:
        with np.load(io.BytesIO(read_sealed(path))) as arrays:
            return load_snapshots(arrays), float(arrays["seconds"])


def _shares(start: int, size: int) -> Iterator[range]:
    """The inputs from ``start`` up to ``size``, cut at the multiples of ``SHARE``."""
    while start < size:
        stop = min((start // SHARE + 1) * SHARE, size)
        yield range(start, stop)
        start = stop


def _milestones(start: int, size: int) -> Iterator[int]:
    """64, 256, 1024, ... between ``start`` and ``size``, and ``size``.

    Storing one costs as much as a few images, so cheap ones are not stored.
    """
    done = 64
    while done < size:
        if done > start:
            yield done
        done *= 4
    yield size
