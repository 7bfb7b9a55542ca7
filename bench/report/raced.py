"""Rows that lost a race (``sweep.race``): what a reader must know of them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bench.report.wording import GROUP, group_name, plural


def raced_in(tidied: pd.DataFrame) -> Iterator[str]:
    """One sentence for each group with such rows."""
    raced = tidied[tidied["status"] == "raced"]
    for name, same in raced.groupby(list(GROUP), sort=False):
        fewest, most = int(same["n_images"].min()), int(same["n_images"].max())
        seen = plural(most, "image") if fewest == most else f"{fewest} to {most} images"
        yield (
            f"{group_name(name)}, lost a race in {plural(len(same), 'run')} after {seen}: these "
            "are proven to be better than a complete run by no more than a tie, and ended. They "
            "are in no figure, effect or verdict. The same sweep without sweep.race=true completes "
            "them."
        )
