"""Hydra's basic sweeper for many runs: what was typed is checked in the time of a few.

Hydra finds plugins in the namespace package ``hydra_plugins`` alone. It loads them without listing
the module, so nothing can look up annotations later, and they are not put off here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


@dataclass
class SharingSweeperConf:
    """The options are those of ``hydra/sweeper=basic``."""

    _target_: str = "hydra_plugins.int8bench_sweeper.SharingSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="sharing", node=SharingSweeperConf, provider="int8bench"
)


class SharingSweeper(BasicSweeper):
    """Every combination of the values given, as ``BasicSweeper``."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every value once, with the first values of the other keys.

        Hydra composes every combination, and each again when it is run: of ten thousand runs that
        took a quarter of an hour before the first began. What is wrong with a pair of values alone
        is told when that pair is composed to be run.
        """
        super().validate_batch_is_legal(one_of_each(batch))


def one_of_each(batch: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Few of a product's combinations, in which every value stands."""
    seen: set[str] = set()
    chosen: list[Sequence[str]] = []
    for overrides in batch:
        fresh = [word for word in overrides if word not in seen]
        if fresh or not chosen:
            seen.update(fresh)
            chosen.append(overrides)
    return chosen
