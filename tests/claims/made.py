"""A claim, rows for it, and what becomes of both."""

from __future__ import annotations

from typing import Any

from bench.claims.claim import Claim, Criterion
from bench.claims.judgements import Judgements
from bench.claims.select import measured_rows
from bench.claims.verdict import Verdict, judge
from bench.results.table import make_table
from tests.report.conftest import make_row

NOTHING_KEPT = Judgements(None)


def claim(**changes: Any) -> Claim:
    """MinMax beats Entropy-v2, unless told otherwise."""
    given: dict[str, Any] = {
        "id": "a_claim", "statement": "A beats B", "source": ("https://example.org/1",),
        "test": Criterion("difference"), "first": {"calibrator": "minmax"},
        "second": {"calibrator": "entropy2"}, "measure": "calibrator=minmax,entropy2",
    }  # fmt: skip
    return Claim(**given | changes)


def pair(lead: float, noise: float = 0.004, **changes: Any) -> list[Any]:
    """A row of MinMax and one of Entropy-v2; the first is better by ``lead``."""
    return [
        make_row(calibrator="minmax", delta=-0.01, noise=noise, **changes),
        make_row(calibrator="entropy2", delta=-0.01 - lead, noise=noise, **changes),
    ]


def verdict(rows: list[Any], *, judgements: Judgements = NOTHING_KEPT, **changes: Any) -> Verdict:
    return judge(claim(**changes), measured_rows(make_table(rows)), judgements)
