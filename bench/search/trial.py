"""What a search tries: a way to calibrate, and the layers in float; and what that loses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.quantization.auto_plan import AutoPlan
from bench.run.spec import Run
from bench.sealed import DamagedError, from_sealed_json, to_sealed_json


@dataclass(frozen=True, eq=False)
class Candidate:
    """A way to calibrate: ``overrides`` make ``run`` of what was typed, such as calibrator=mse."""

    overrides: tuple[str, ...]
    run: Run

    @property
    def label(self) -> str:
        rule = self.run.calibrator
        return " ".join(self.overrides) or f"calibrator={rule.name}"


@dataclass(frozen=True)
class Trial:
    """One measurement of a search: ``candidate`` with ``float_nodes`` in float.

    ``loss`` is what INT8 loses on the search images as a share of FP32's metric (negative: a gain),
    ``error`` its standard error over images (None where that is not known), and ``int8_mac_share``
    the share of multiply-accumulates in INT8.
    """

    candidate: str
    float_nodes: tuple[str, ...]
    int8_mac_share: float
    fp32: float
    int8: float
    loss: float
    error: float | None

    @classmethod
    def of(cls, members: dict[str, Any]) -> Trial:
        """From JSON; raises TypeError or KeyError for anything else."""
        return cls(**{**members, "float_nodes": tuple(members["float_nodes"])})

    @property
    def careful_loss(self) -> float:
        """The loss and one standard error."""
        return self.loss + (self.error or 0.0)

    def meets(self, request: AutoPlan) -> bool:
        """Whether it is what was asked for."""
        share = request.min_int8_mac_share
        enough = share is None or self.int8_mac_share >= share - 1e-9
        return enough and (request.max_loss is None or self.careful_loss <= request.max_loss)

    def rank(self, request: AutoPlan) -> tuple[float, ...]:
        """Larger is better: what meets the request first."""
        if not self.meets(request):
            share = request.min_int8_mac_share or 0.0
            return (0.0, min(self.int8_mac_share - share, 0.0), -self.careful_loss)
        if request.min_int8_mac_share is not None:
            return (1.0, -self.loss, self.int8_mac_share)
        return (1.0, self.int8_mac_share, -self.loss)

    def line(self) -> str:
        """What is in float, and what is lost, in words."""
        doubt = "" if self.error is None else f", standard error {self.error:.1%}"
        word = "loses" if self.loss >= 0 else "gains"
        count = len(self.float_nodes)
        return (
            f"{count or 'no'} layer{'' if count == 1 else 's'} in float "
            f"({self.int8_mac_share:.1%} of MACs in INT8): "
            f"{word} {abs(self.loss):.1%} of FP32{doubt}"
        )


@dataclass(frozen=True)
class Trail:
    """A search so far: what was asked, on what it was measured, and every trial in order."""

    request: str
    metric: str
    images: str
    trials: tuple[Trial, ...]
    best: Trial | None
    meets: bool
    seconds: float
    finished: bool

    def to_bytes(self) -> bytes:
        """As JSON with a checksum."""
        return to_sealed_json(asdict(self), indent=1)

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> Trail:
        """Raises DamagedError for anything else."""
        members = from_sealed_json(content, path)
        try:
            trials = tuple(Trial.of(trial) for trial in members["trials"])
            best = Trial.of(members["best"]) if members["best"] else None
            return cls(**{**members, "trials": trials, "best": best})
        except (TypeError, KeyError) as error:
            raise DamagedError(path, f"no search: {error}") from error

    def line(self) -> str:
        """The last trial in words."""
        last = self.trials[-1]
        return f"plan=auto, trial {len(self.trials)}: {last.candidate}, {last.line()}"
