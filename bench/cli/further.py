"""Jobs that a sweep launches after its own, by the same launcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from bench.cli.compose import compose_typed
from bench.cli.words import key_of, words_of
from bench.results.jobs import JobFolder

Launch = Callable[[Sequence[Sequence[str]]], None]
"""Make a job of each of these lists of overrides, and return when all have ended."""

_OF_THE_SWEEP = ("sweep", "confirm")
"""What a row has from the sweep that made it, and not from what it measured."""


@dataclass(frozen=True, eq=False)
class FurtherJobs:
    """The composed configuration of a sweep, and what Hydra's launchers need besides."""

    config: DictConfig
    context: HydraContext

    @classmethod
    def of_hydra(cls, config: DictConfig) -> FurtherJobs:
        """Inside Hydra, which forgets its context as soon as the sweep's own jobs have ended."""
        from hydra._internal.callbacks import Callbacks

        loader = GlobalHydra.instance().config_loader()
        return cls(config, HydraContext(config_loader=loader, callbacks=Callbacks()))

    def launches(self, task: TaskFunction, jobs: JobFolder) -> Launch:
        """What launches jobs of this function; their records go on with the numbers of ``jobs``."""

        def launch(words: Sequence[Sequence[str]]) -> None:
            launcher = Plugins.instance().instantiate_launcher(self.context, task, self.config)
            launcher.launch(words, jobs.next_number())

        return launch

    def words(self, typed: Sequence[str]) -> list[str]:
        """The words of a row for a job of this sweep: with its settings in place of those of the
        sweep that made the row, and without a race.

        Raises what ``bench.cli.compose.compose_typed`` raises: a row may ask for few things.
        """
        own = [word for word in self.config.hydra.overrides.task if _is_of_sweep(word)]
        words = list(typed)
        if own != [word for word in typed if _is_of_sweep(word)]:
            words = [*(word for word in typed if not _is_of_sweep(word)), *own]
        words = [word for word in words if key_of(word) != "sweep.race"]
        if compose_typed(words).sweep.out != self.config.sweep.out:
            words += words_of([{"sweep.out": self.config.sweep.out}])
        return words


def _is_of_sweep(word: str) -> bool:
    return key_of(word).partition(".")[0] in _OF_THE_SWEEP
