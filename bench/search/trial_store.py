"""Rankings, trials and finished searches in the cache: an interrupted search continues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from bench.cache import cached
from bench.diagnosis.ranking import Ranking
from bench.results.plan_search import Trail, Trial
from bench.sealed import DamagedError, from_sealed_json, to_sealed_json


def stored_rankings(path: Path, rank: Callable[[], Sequence[Ranking]]) -> list[Ranking]:
    """The stored rankings of the candidates; made and stored first if there are none."""

    def write() -> Callable[[BinaryIO], object]:
        return _writer(to_sealed_json({"rankings": [asdict(ranking) for ranking in rank()]}))

    return cached(path, _read_rankings, write)


def stored_trial(path: Path, measure: Callable[[], Trial]) -> Trial:
    """The stored trial; measured and stored first if there is none."""
    return cached(path, _read_trial, lambda: _writer(to_sealed_json(asdict(measure()))))


def stored_trail(path: Path, search: Callable[[], Trail]) -> Trail:
    """The stored search; made and stored first if there is none."""
    return cached(
        path,
        lambda path: Trail.from_bytes(path.read_bytes(), path),
        lambda: _writer(search().to_bytes()),
    )


def _writer(content: bytes) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(content)


def _read_trial(path: Path) -> Trial:
    members = from_sealed_json(path.read_bytes(), path)
    try:
        return Trial.of(members)
    except (TypeError, KeyError) as error:
        raise DamagedError(path, f"not a trial: {error}") from error


def _read_rankings(path: Path) -> list[Ranking]:
    members = from_sealed_json(path.read_bytes(), path)
    try:
        return [Ranking.of(one) for one in members["rankings"]]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DamagedError(path, f"not a ranking of layers: {error}") from error
