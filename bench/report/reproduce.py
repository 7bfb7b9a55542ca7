"""The command that makes a table again, from what was typed for each of its rows."""

from __future__ import annotations

import re
import shlex

import pandas as pd


def reproduce_command(rows: pd.DataFrame) -> str:
    """``int8bench sweep ...`` with every value that a row was made with.

    One line for all rows that were typed with the same keys. Rows that are no full product of their
    values are covered, not matched: the command may make more. Those that a kit measured on a
    target are made there.
    """
    lines: dict[tuple[str, ...], list[dict[str, None]]] = {}
    for typed in rows.loc[rows["measured_on"] == "", "overrides"].unique():
        pairs = [override.partition("=") for override in typed_words(typed)]
        values = lines.setdefault(tuple(key for key, _, _ in pairs), [{} for _ in pairs])
        for seen, (_, _, value) in zip(values, pairs, strict=True):
            seen[value] = None
    return "\n".join(
        " ".join(
            [
                "int8bench sweep",
                *(
                    shlex.quote(f"{key}={','.join(seen)}")
                    for key, seen in zip(keys, values, strict=True)
                ),
            ]
        )
        for keys, values in lines.items()
    )


def measure_command(rows: pd.DataFrame, measure: str) -> str:
    """The sweep that would measure a claim, for the model and the data of these rows and into their
    folder; for another model where the claim is about that."""
    first = rows.iloc[0]
    asked = dict.fromkeys(shlex.split(measure))
    models = [word for word in asked if word.startswith("model=")]
    if models and str(first["model"]) not in models[0].partition("=")[2].split(","):
        return f"int8bench sweep {measure}"
    keys = {word.partition("=")[0] for word in asked if word not in models}
    base = {
        word: None
        for word in typed_words(str(first["overrides"]))
        if re.match(r"(model|dataset|engine|scheme|sweep\.out|evaluation)\b", word)
        and word.partition("=")[0] not in keys - {"sweep.out"}
    }
    own = [word for word in asked if word not in models and not word.startswith("sweep.out=")]
    return shlex.join(["int8bench", "sweep", *base, *own])


def typed_words(typed: str) -> list[str]:
    """What was typed, but for words that no row has: options, and what would set Hydra itself,
    which can run anything."""
    try:
        words = shlex.split(typed)
    except ValueError:  # a quotation that does not end
        return []
    return [word for word in words if not re.match(r"-|[+~]*hydra\b", word)]
