"""A diagnosis as one self-contained page: what INT8 harms, where, and lists to paste."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from bench.cache import write_atomically
from bench.report.charts_diagnosed_tensors import telling_tensors, tensor_chart
from bench.report.charts_diagnosis import block_noise, error_along_depth, layer_noise
from bench.report.diagnosis_columns import LONGEST
from bench.report.diagnosis_numbers import (
    decibels,
    first_set,
    number_text,
    parts_text,
    set_words,
    sqnr_cell,
    worst_part,
)
from bench.report.diagnosis_tables import (
    block_table,
    layer_table,
    letters_of,
    tensor_table,
    worst_table,
)
from bench.report.drawing import Drawing, short_name
from bench.report.figures import make_chart, to_html
from bench.report.style import RC
from bench.report.templates import render
from bench.report.wording import plural
from bench.results.diagnosis import Diagnosis

LARGEST_SVG = 800_000
"""Most characters of SVG: a chart of a thousand layers still fits."""

FOLDED = 15
"""Longer tables are folded."""


@dataclass(frozen=True)
class Tile:
    """One number of the headline, and what it is."""

    title: str
    value: str
    note: str


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page of ``diagnosis`` to ``path``, atomically."""
    write_atomically(path, render_page(diagnosis).encode(errors="replace"))


def render_page(diagnosis: Diagnosis) -> str:
    """The page, with the charts in it."""
    charts = dict(_charts(diagnosis))
    model = short_name(diagnosis.setting.get("model", "this model"), LONGEST)
    drawn = {}
    with matplotlib.rc_context(RC):
        for name, drawing in charts.items():
            chart = make_chart(f"chart-{name}", f"INT8 diagnosis of {model}", drawing)
            drawn[name] = to_html(chart, LARGEST_SVG)
    return render(
        "diagnosis.html.j2",
        diagnosis=diagnosis,
        model=model,
        calibrator=diagnosis.setting.get("calibrator", ""),
        images=set_words(first_set(diagnosis)),
        tiles=_tiles(diagnosis),
        worst=worst_table(diagnosis),
        layers=layer_table(diagnosis),
        blocks=block_table(diagnosis),
        tensors=tensor_table(diagnosis),
        charts=charts,
        drawn=drawn,
        telling=[name for name in charts if name.startswith("tensor-")],
        not_finite=[
            short_name(tensor.name, LONGEST) for tensor in diagnosis.tensors if tensor.not_finite
        ],
        seconds=number_text(diagnosis.seconds, 3),
        folded=FOLDED,
    )


def _charts(diagnosis: Diagnosis) -> Iterator[tuple[str, Drawing]]:
    with matplotlib.rc_context(RC):
        for name, draw in (
            ("layers", layer_noise), ("blocks", block_noise), ("depth", error_along_depth),
        ):  # fmt: skip
            if drawing := draw(diagnosis):
                yield name, drawing
        for number, (tensor, readers) in enumerate(telling_tensors(diagnosis)):
            yield f"tensor-{number}", tensor_chart(tensor, readers)


def _tiles(diagnosis: Diagnosis) -> list[Tile]:
    images = first_set(diagnosis)
    tiles = []
    whole = diagnosis.all_int8.get(images)
    if whole is not None and (part := worst_part(whole)) is not None:
        note = (
            parts_text(whole) if len(whole.sqnr_db) > 1 else "signal to noise ratio at the outputs"
        )
        tiles.append(
            Tile(f"SQNR, every layer in INT8, {set_words(images)}", f"{decibels(part[1])} dB", note)
        )
    by_name = {layer.name: layer for layer in diagnosis.layers}
    letters = letters_of(diagnosis)
    if letters:
        first = by_name[next(iter(letters))]
        alone = sqnr_cell(first.only.get(images)).text
        tiles.append(Tile("SQNR, the worst layer alone in INT8", f"{alone} dB",
                          short_name(first.name, LONGEST)))  # fmt: skip
        share = sum(by_name[name].mac_share for name in letters)
        listed = "worst layer" if len(letters) == 1 else f"{len(letters)} worst layers"
        tiles.append(Tile(f"MACs of the {listed}", f"{100 * share:.1f} %",
                          f"of the network's multiply-accumulates; it has "
                          f"{plural(len(diagnosis.layers), 'layer')} in INT8"))  # fmt: skip
    return tiles
