"""One FP32 pass over the calibration images serves every calibrator and every size.

Calibration sets are nested prefixes of one seeded shuffle, and statistics can be continued: those
of a size are kept on disk, and a larger size goes on from the largest that is there. So a sweep's
sizes together cost one pass over the largest, in whatever processes they run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from bench.cache import content_key, only_one, write_with
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.model.onnx_model import OnnxModel

FORMAT = 2
"""To be raised with every change to what the statistics are."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the tensors showed on the first ``size`` images, and the seconds that took."""

    size: int
    snapshots: tuple[Snapshot, ...]
    seconds: float


@dataclass(frozen=True)
class Collector:
    """Statistics of ``tensors`` of one model over one ordered sequence of inputs.

    ``image`` gives input number i (1, 3, height, width) float32; ``images_key`` tells the sequence
    (dataset, order, preprocessing) apart from every other.
    """

    model: OnnxModel
    tensors: tuple[str, ...]
    image: Callable[[int], Array]
    images_key: str
    folder: Path

    def collect(self, size: int, clock: Callable[[], float]) -> Calibration:
        """Statistics over the first ``size`` inputs; DataError for a non-finite activation."""
        with only_one(self.folder / f".statistics-{self._key}.lock"):
            have = max((s for s in self._sizes() if s <= size), default=0)
            start = self._load(have) if have else Calibration(0, (), 0.0)
            return start if have == size else self._extend(start, size, clock)

    @property
    def _key(self) -> str:
        return content_key(
            FORMAT, self.model.sha256, *self.tensors, self.images_key, ort.__version__
        )

    def _path(self, size: int) -> Path:
        return self.folder / f"statistics-{self._key}-{size}.npz"

    def _sizes(self) -> list[int]:
        paths = self.folder.glob(f"statistics-{self._key}-*.npz")
        return [int(path.stem.rsplit("-", 1)[1]) for path in paths]

    def _extend(self, start: Calibration, size: int, clock: Callable[[], float]) -> Calibration:
        statistics = [TensorStatistics(name) for name in self.tensors]
        for one, snapshot in zip(statistics, start.snapshots, strict=False):  # none at the start
            one.restore(snapshot)
        session = _open_with_outputs(self.model, self.tensors)
        begin, before = clock(), start.seconds
        reached = start
        # The statistics of one image are taken while the network runs on the next.
        with ThreadPoolExecutor(max_workers=1) as worker:
            taken = worker.submit(_update, [], [])
            for index in range(start.size, size):
                values = self._run(session, self.image(index))
                taken.result()
                taken = worker.submit(_update, statistics, values)
                # Powers of two are kept in passing: a smaller size asked for later starts there.
                done = index + 1
                if done == size or (done >= 8 and done & (done - 1) == 0):
                    taken.result()
                    snapshots = tuple(one.snapshot() for one in statistics)
                    reached = Calibration(done, snapshots, before + clock() - begin)
                    self._save(reached)
        return reached

    def _run(self, session: ort.InferenceSession, image: Array) -> Sequence[Array]:
        wanted = [name for name in self.tensors if name != self.model.input_name]
        values = session.run(wanted, {self.model.input_name: image}) if wanted else []
        found = dict(zip(wanted, values, strict=True))
        found[self.model.input_name] = image
        return [found[name] for name in self.tensors]

    def _save(self, calibration: Calibration) -> None:
        arrays: dict[str, Any] = {"seconds": np.array(calibration.seconds)}
        for index, snapshot in enumerate(calibration.snapshots):
            for key, value in snapshot.to_arrays().items():
                arrays[f"{index}/{key}"] = value
        write_with(self._path(calibration.size), lambda file: np.savez(file, **arrays))

    def _load(self, size: int) -> Calibration:
        with np.load(self._path(size)) as arrays:
            snapshots = []
            for index in range(len(self.tensors)):
                prefix = f"{index}/"
                own = {n[len(prefix) :]: arrays[n] for n in arrays.files if n.startswith(prefix)}
                snapshots.append(Snapshot.from_arrays(own))
            return Calibration(size, tuple(snapshots), float(arrays["seconds"]))


def _update(statistics: Sequence[TensorStatistics], values: Sequence[Array]) -> None:
    for one, array in zip(statistics, values, strict=True):
        one.update(array)


def _open_with_outputs(model: OnnxModel, tensors: Sequence[str]) -> ort.InferenceSession:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    present = {model.input_name, *model.output_names}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in tensors if name not in present
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Threads that spin between two layers would take the core that the statistics need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
