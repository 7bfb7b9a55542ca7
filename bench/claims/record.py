"""Claims judged on a sweep's folder, and stored there as ``claims.json``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from bench.claims.claim import load_claims
from bench.claims.judgements import Judgements
from bench.claims.reference import Comparison, compare_references, load_references
from bench.claims.select import measured_rows
from bench.claims.verdict import Verdict, judge
from bench.errors import DataError
from bench.results.checksums import read_listed, write_listed
from bench.results.folder import SweepFolder


def write_claims(folder: Path, table: pd.DataFrame, judgements: Judgements) -> tuple[Verdict, ...]:
    """Judge all claims of ``conf/claim`` on a sweep's table (as read, or tidy), and write the two
    records to its folder.

    ``claims.json`` holds the verdicts, ``references.json`` the published cases beside the rows.
    """
    paths, measured = SweepFolder(folder), measured_rows(table)
    verdicts = tuple(judge(claim, measured, judgements) for claim in load_claims())
    _write(paths.claims, [verdict.to_json() for verdict in verdicts])
    compared = compare_references(load_references(), table)
    _write(paths.references, [comparison.to_json() for comparison in compared])
    return verdicts


def read_verdicts(folder: Path) -> tuple[Verdict, ...]:
    """The verdicts stored in a folder; none where there is no such file."""
    return tuple(_read(SweepFolder(folder).claims, Verdict.from_json))


def read_references(folder: Path) -> tuple[Comparison, ...]:
    """The published cases stored in a folder; none where there is no such file."""
    return tuple(_read(SweepFolder(folder).references, Comparison.from_json))


def _read(path: Path, make: Any) -> list[Any]:
    if not path.is_file():
        return []
    try:
        return [make(one) for one in json.loads(read_listed(path, "Write it again: make claims"))]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} is not a record of claims of this version ({reason})",
            "Delete it, or write it again: make claims",
        ) from error


def _write(path: Path, content: list[dict[str, Any]]) -> None:
    write_listed(path, (json.dumps(_plain(content), indent=1) + "\n").encode())


def _plain(value: Any) -> Any:
    """With None for values that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
