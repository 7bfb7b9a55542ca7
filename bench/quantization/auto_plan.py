"""A plan that a search will choose, and its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.quantization.plan import PrecisionPlan
from bench.results.plan_search import CHOSEN, Budget

USUAL_LOSS = 0.01


@dataclass(frozen=True)
class AutoPlan(PrecisionPlan):
    """A search decides which layers stay in float: ``bench.search`` makes the plan.

    ``max_loss`` is the largest allowed loss as a share of FP32; the search then looks for the most
    INT8. ``min_int8_mac_share`` is the least share of multiply-accumulates in INT8,
    ``max_float_layers`` the largest number of layers in float; with either the search looks for the
    best accuracy. Without any of these, ``USUAL_LOSS`` is allowed. Trials use ``images``
    calibration images, and after ``seconds`` no further trial starts. With ``latency``, layers
    whose INT8 costs time go to float too: such a plan is for one engine on one machine.

    Raises ConfigError for values that are not possible.
    """

    max_loss: float | None = None
    min_int8_mac_share: float | None = None
    max_float_layers: int | None = None
    images: int = 192
    seconds: float = 600.0
    latency: bool = False

    def __post_init__(self) -> None:
        for name in ("max_loss", "min_int8_mac_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"plan.{name}={value} is not a share", "Use 0 to 1")
        if self.max_float_layers is not None and self.max_float_layers < 0:
            raise ConfigError(
                f"plan.max_float_layers={self.max_float_layers} is below 0", "Use 0 or more"
            )
        if self.images < 8:
            raise ConfigError(f"plan.images={self.images} is below 8", "Use 8 or more")
        if not self.seconds >= 0:
            raise ConfigError(f"plan.seconds={self.seconds} is not possible", "Use 0 or more")

    @property
    def budget(self) -> Budget:
        budget = Budget(self.max_loss, self.min_int8_mac_share, self.max_float_layers)
        return Budget(USUAL_LOSS) if budget == Budget() else budget

    @property
    def chosen_name(self) -> str:
        """The name of the plan that the search chooses."""
        return f"{CHOSEN}{self.budget}{', latency' if self.latency else ''}"

    def float_nodes(self, graph: Graph) -> NoReturn:
        raise ConfigError(
            "plan=auto has not been searched yet", "Run it with make sweep PLANS=auto"
        )
