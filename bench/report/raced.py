"""Rows that lost a race (``sweep.race``): what a reader must know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from bench.report.result import CONFIGURATION
from bench.report.wording import GROUP, group_name, measured, plain, plural
from bench.results.columns.provenance import FP32


def raced_in(tidied: pd.DataFrame) -> Iterator[str]:
    """One sentence for each group with such rows."""
    raced = tidied[tidied["status"] == "raced"]
    for name, same in raced.groupby(list(GROUP), sort=False):
        fewest, most = int(same["n_images"].min()), int(same["n_images"].max())
        seen = plural(most, "image") if fewest == most else f"{fewest} to {most} images"
        yield (
            f"{group_name(name)}, lost a race in {plural(len(same), 'run')} after {seen}: "
            f"{_proven(same)}, and ended. They are in no figure, effect or verdict. The same sweep "
            "without sweep.race=true completes them."
        )


def _proven(raced: pd.DataFrame) -> str:
    """What is proven of these rows."""
    too_much = int((raced["raced_against"] == FP32).sum())
    no_better = len(raced) - too_much
    loss, tie = (
        "to lose more than max_loss",
        "to be better than a complete run by no more than a tie",
    )
    if too_much and no_better:
        return f"{too_much} proven {loss}, {no_better} proven {tie}"
    return f"proven {loss if too_much else tie}"


def configurations_raced(tidied: pd.DataFrame) -> dict[tuple[object, ...], int]:
    """By group: how many configurations have rows that lost a race, and no complete row."""
    # n_images of a raced row are those that it saw.
    columns = [*GROUP, *(name for name in CONFIGURATION if name != "n_images")]
    complete = set(_keys(measured(tidied)[columns]))
    raced = tidied.loc[tidied["status"] == "raced", columns]
    alone = [key for key in dict.fromkeys(_keys(raced)) if key not in complete]
    return Counter(key[: len(GROUP)] for key in alone)


def _keys(rows: pd.DataFrame) -> list[tuple[object, ...]]:
    return [tuple(map(plain, row)) for row in rows.itertuples(index=False, name=None)]
