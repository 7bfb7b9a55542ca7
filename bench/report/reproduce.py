"""The command that makes a table again, from what was typed for each of its rows."""

from __future__ import annotations

import re
import shlex

import pandas as pd


def reproduce_command(rows: pd.DataFrame) -> str:
    """``python -m bench --multirun ...`` with every value that a row was made with.

    One line for all rows that were typed with the same keys. Rows that are no full product of their
    values are covered, not matched: the command may make more. Those that a kit measured on a
    target are made there.
    """
    lines: dict[tuple[str, ...], list[dict[str, None]]] = {}
    for typed in rows.loc[rows["measured_on"] == "", "overrides"].unique():
        pairs = [override.partition("=") for override in _words(typed)]
        values = lines.setdefault(tuple(key for key, _, _ in pairs), [{} for _ in pairs])
        for seen, (_, _, value) in zip(values, pairs, strict=True):
            seen[value] = None
    return "\n".join(
        " ".join(
            [
                "python -m bench --multirun",
                *(
                    shlex.quote(f"{key}={','.join(seen)}")
                    for key, seen in zip(keys, values, strict=True)
                ),
            ]
        )
        for keys, values in lines.items()
    )


def _words(typed: str) -> list[str]:
    """What was typed, but for words that no row has: options, and what would set Hydra itself,
    which can run anything."""
    try:
        words = shlex.split(typed)
    except ValueError:  # a quotation that does not end
        return []
    return [word for word in words if not re.match(r"-|[+~]*hydra\b", word)]
