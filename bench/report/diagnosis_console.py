"""The few lines that a diagnosis prints: the worst layers, and the advice."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.report.wording import MISSING
from bench.results.diagnosis import Diagnosis, Effect
from bench.results.noise_shares import gain_db, noise_shares

MOST_ROWS = 10
LEAST_ROWS = 5


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print the worst layers and the advice."""
    shares = noise_shares(diagnosis.layers)
    ranked = sorted(diagnosis.layers, key=lambda layer: -shares[layer.name])
    rows = ranked[: max(LEAST_ROWS, min(MOST_ROWS, len(diagnosis.worst)))]
    setting = diagnosis.setting
    table = Table(
        title=escape(
            f"{setting.get('model')}, {setting.get('calibrator')}: the worst of "
            f"{len(diagnosis.layers)} layers"
        )
    )
    for head in ("layer", "op"):
        table.add_column(head, overflow="fold")
    for head in ("of MACs", "of noise", "SQNR alone", "all but it"):
        table.add_column(head, justify="right")
    for layer in rows:
        gain = gain_db(layer, diagnosis.all_int8)
        table.add_row(
            escape(layer.name),
            "Conv, depthwise" if layer.depthwise else escape(layer.op),
            f"{layer.mac_share:.2%}",
            f"{shares[layer.name]:.1%}",
            _shown(_lowest_db(layer.only)),
            MISSING if gain is None else f"{gain:+.1f} dB",
        )
    console.print(table)
    for sentence in diagnosis.advice:
        console.print(f"- {escape(sentence)}", highlight=False)


def _lowest_db(effects: Mapping[str, Effect]) -> float | None:
    values = [
        value for one in effects.values() for value in one.sqnr_db.values() if value is not None
    ]
    return min(values, default=None)


def _shown(decibels: float | None) -> str:
    return MISSING if decibels is None else f"{decibels:.1f} dB"
