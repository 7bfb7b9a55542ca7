"""A plan search as stored data: the trials, and their losses."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.results.plan_latency import LatencyTrail
from bench.sealed import DamagedError, from_sealed_json, to_sealed_json

CHOSEN = "auto, "
"""Prefix of the name of a plan that a search chose; the budget follows."""


@dataclass(frozen=True)
class Budget:
    """The budget of a search: at most ``max_loss`` of FP32's metric (a share), at least
    ``min_int8_mac_share`` of the multiply-accumulates in INT8, at most ``max_float_layers`` in
    float; None: no limit."""

    max_loss: float | None = None
    min_int8_mac_share: float | None = None
    max_float_layers: int | None = None

    @property
    def bounds_float(self) -> bool:
        """Whether it says how much may be in float, so that the best accuracy is looked for."""
        return self.min_int8_mac_share is not None or self.max_float_layers is not None

    def allows(self, int8_mac_share: float, float_layers: int) -> bool:
        """Whether so much may be in float, whatever it loses."""
        return self.excess(int8_mac_share, float_layers) == (0.0, 0.0)

    def excess(self, int8_mac_share: float, float_layers: int) -> tuple[float, float]:
        """What is in float beyond the budget: a share of the work, and layers."""
        missing = (self.min_int8_mac_share or 0.0) - int8_mac_share
        most = float_layers if self.max_float_layers is None else self.max_float_layers
        return (missing if missing > 1e-9 else 0.0), float(max(float_layers - most, 0))

    def __str__(self) -> str:
        parts = []
        if self.max_loss is not None:
            parts.append(f"loss {self.max_loss:.4g}")
        if self.min_int8_mac_share is not None:
            parts.append(f"{self.min_int8_mac_share:.4g} of MACs in INT8")
        if self.max_float_layers is not None:
            count = self.max_float_layers
            parts.append(f"{count} layer{'' if count == 1 else 's'} in float")
        return ", ".join(parts)


@dataclass(frozen=True)
class Trial:
    """One measurement of a search: ``candidate`` with ``float_nodes`` in float.

    ``loss`` is what INT8 loses on the search images as a share of FP32's metric (negative: a gain),
    ``error`` its standard error over images (None where that is not known), and ``int8_mac_share``
    the share of multiply-accumulates in INT8. ``dropped_after`` so many images it was proven to
    lose too much; None for a trial on all of them.
    """

    candidate: str
    float_nodes: tuple[str, ...]
    int8_mac_share: float
    fp32: float
    int8: float
    loss: float
    error: float | None
    dropped_after: int | None = None

    @classmethod
    def of(cls, members: dict[str, Any]) -> Trial:
        """From JSON; raises TypeError or KeyError for anything else."""
        return cls(**{**members, "float_nodes": tuple(members["float_nodes"])})

    def meets(self, budget: Budget) -> bool:
        """Whether it is within the budget. A loss must be below it by one standard error or by half
        of the budget, whichever is less: few images could not prove a small loss."""
        allowed = budget.allows(self.int8_mac_share, len(self.float_nodes))
        if not allowed or self.dropped_after is not None:
            return False
        if budget.max_loss is None:
            return True
        return self.loss + min(self.error or 0.0, budget.max_loss / 2) <= budget.max_loss

    def rank(self, budget: Budget) -> tuple[float, ...]:
        """Larger is better: what is within the budget first."""
        if not self.meets(budget):
            excess = budget.excess(self.int8_mac_share, len(self.float_nodes))
            seen = math.inf if self.dropped_after is None else self.dropped_after
            return (0.0, *(-one for one in excess), seen, -self.loss)
        if budget.bounds_float:
            return (1.0, -self.loss, self.int8_mac_share)
        return (1.0, self.int8_mac_share, -self.loss)

    def line(self) -> str:
        """What is in float, and the loss, in words."""
        doubt = "" if self.error is None else f", standard error {self.error:.1%}"
        if self.dropped_after is not None:
            doubt += f", dropped after {self.dropped_after} images"
        word = "loses" if self.loss >= 0 else "gains"
        count = len(self.float_nodes)
        return (
            f"{count or 'no'} layer{'' if count == 1 else 's'} in float "
            f"({self.int8_mac_share:.1%} of MACs in INT8): "
            f"{word} {abs(self.loss):.1%} of FP32{doubt}"
        )


@dataclass(frozen=True)
class Trail:
    """A search so far: its budget, its images, and every trial in order.

    ``latency`` is what it measured of latency, if it did; ``best`` is then the plan accepted there.
    """

    budget: Budget
    metric: str
    images: str
    trials: tuple[Trial, ...]
    best: Trial | None
    meets: bool
    seconds: float
    finished: bool
    latency: LatencyTrail | None = None

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
            budget = Budget(**members["budget"])
            latency = LatencyTrail.of(members["latency"]) if members.get("latency") else None
            known = {"budget": budget, "trials": trials, "best": best, "latency": latency}
            return cls(**{**members, **known})
        except (TypeError, KeyError) as error:
            raise DamagedError(path, f"not a search: {error}") from error

    def line(self) -> str:
        """The last trial in words."""
        if self.latency is not None and self.latency.trials:
            return f"plan=auto, latency: {self.latency.trials[-1].line()}"
        last = self.trials[-1]
        return f"plan=auto, trial {len(self.trials)}: {last.candidate}, {last.line()}"
