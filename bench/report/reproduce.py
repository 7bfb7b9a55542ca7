"""The command that reproduces a table, from the overrides typed for each row."""

from __future__ import annotations

import re
import shlex

import pandas as pd

from bench.report.wording import SERIALIZED


def reproduce_command(rows: pd.DataFrame) -> str:
    """``int8bench sweep ...`` with every value that the rows used.

    One line for all rows that were typed with the same keys. If the rows are not a full product of
    their values, the command also makes the missing combinations. Rows that a kit measured on a
    target are made there, and those of a serialized engine by ``judge`` alone.
    """
    lines: dict[tuple[str, ...], list[dict[str, None]]] = {}
    for typed in repeatable(rows)["overrides"].unique():
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


def repeatable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that can be measured again here by their overrides: neither those of a target nor
    those of a serialized engine."""
    return rows[(rows["measured_on"] == "") & (rows["accuracy_by"] != SERIALIZED)]


def measure_command(rows: pd.DataFrame, measure: str) -> str:
    """The sweep that would measure a claim, with the model, the data and the folder of these rows;
    with another model where the claim is about one."""
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
    further = [word for word in asked if word not in models and not word.startswith("sweep.out=")]
    return shlex.join(["int8bench", "sweep", *base, *further])


def typed_words(typed: str) -> list[str]:
    """The typed overrides KEY=VALUE (and ``~KEY``), without other words: names of files, options,
    and keys that configure Hydra itself, which can run any code."""
    try:
        words = shlex.split(typed)
    except ValueError:  # unbalanced quotation marks
        return []
    return [
        word
        for word in words
        if re.match(r"~|[+\w][^=]*=", word) and not re.match(r"[+~]*hydra\b", word)
    ]
