"""Datasets made from another one: what they leave as it is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.dataset import Dataset, TaskName


@dataclass(frozen=True, eq=False)
class Derived:
    """The name, task and classes of ``dataset``."""

    dataset: Dataset

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def task(self) -> TaskName:
        return self.dataset.task

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.class_names
