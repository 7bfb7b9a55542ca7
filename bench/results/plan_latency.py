"""What a plan search measured of latency, as stored data: it holds for one engine and machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerCost:
    """Milliseconds of a layer in INT8, with what its Q/DQ costs, and in FP32; by the engine's
    profile."""

    name: str
    int8_ms: float
    fp32_ms: float

    @property
    def gain_ms(self) -> float:
        return self.int8_ms - self.fp32_ms


@dataclass(frozen=True)
class Gain:
    """How much faster one network is than another, as a share of the other's time, with its 95 %
    interval: the median over rounds in which both were timed in turn. Below zero: slower."""

    share: float
    low: float
    high: float
    rounds: int

    @property
    def proven(self) -> bool:
        """Whether it is faster, with its interval clear of zero."""
        return self.low > 0

    def __str__(self) -> str:
        return f"{self.share:.1%} (95 % interval {self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class TimedTrial:
    """A whole network with ``float_nodes`` in float, timed in turn with the best plan until then.

    ``milliseconds`` is its median. ``loss`` is its loss on the search images; None where it was
    not measured, as it was not faster. ``accepted``: it is the best plan from then on.
    """

    float_nodes: tuple[str, ...]
    int8_mac_share: float
    milliseconds: float
    gain: Gain
    loss: float | None
    accepted: bool

    @classmethod
    def of(cls, members: dict[str, Any]) -> TimedTrial:
        """From JSON; raises TypeError or KeyError for anything else."""
        nodes, gain = tuple(members["float_nodes"]), Gain(**members["gain"])
        return cls(**{**members, "float_nodes": nodes, "gain": gain})

    def line(self) -> str:
        count = len(self.float_nodes)
        lost = "" if self.loss is None else f", loses {self.loss:.1%} of FP32"
        answer = "accepted" if self.accepted else "not accepted"
        return (
            f"{count} layer{'' if count == 1 else 's'} in float: {self.milliseconds:.3g} ms, "
            f"faster by {self.gain}{lost}: {answer}"
        )


@dataclass(frozen=True)
class LatencyTrail:
    """The search for layers whose INT8 costs time, on ``engine`` and ``hardware``.

    It begins with the plan ``begun_with`` of the search by accuracy, which takes ``milliseconds``
    (median). ``slower`` are the layers that the profile shows to be slower in INT8. ``gain`` is
    that of the accepted plan against the first one, measured once more; None where no plan was
    accepted. ``timing``: alone on the machine, or shared with other runs. ``stopped``: the time was
    up before all was tried.
    """

    engine: str
    hardware: str
    timing: str
    begun_with: tuple[str, ...]
    milliseconds: float | None
    slower: tuple[LayerCost, ...]
    trials: tuple[TimedTrial, ...]
    gain: Gain | None
    stopped: bool

    @classmethod
    def of(cls, members: dict[str, Any]) -> LatencyTrail:
        """From JSON; raises TypeError or KeyError for anything else."""
        known = {
            "begun_with": tuple(members["begun_with"]),
            "slower": tuple(LayerCost(**one) for one in members["slower"]),
            "trials": tuple(TimedTrial.of(one) for one in members["trials"]),
            "gain": Gain(**members["gain"]) if members["gain"] else None,
        }
        return cls(**{**members, **known})

    @property
    def place(self) -> str:
        """Where it holds."""
        shared = "" if self.timing == "alone" else ", while other runs used the machine"
        return f"{self.engine}, {self.hardware}{shared}"

    def line(self) -> str:
        """What was gained, and where."""
        return f"{self.answer} ({self.place})"

    @property
    def answer(self) -> str:
        """What was gained, in words."""
        stopped = ", but the time was up before all was tried" if self.stopped else ""
        if self.gain is None:
            return f"nothing is proven to make it faster{stopped}"
        if not self.gain.proven:
            return f"timed once more, the gain was {self.gain}: not accepted{stopped}"
        return f"faster by {self.gain} than the plan chosen by accuracy alone{stopped}"
