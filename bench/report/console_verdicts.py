"""The verdicts on published claims in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.claims.verdict import Verdict
from bench.report.verdicts import ClaimsRecord, VerdictLine, lines_of
from bench.report.wording import plural

STYLES = {
    "supported": "green",
    "refuted": "red",
    "undecided": "yellow",
    "depends": "cyan",
    "never": "yellow",
    "not": "bright_black",
}
"""First word of a verdict -> how a terminal shows it."""


def print_verdicts(verdicts: tuple[Verdict, ...], console: Console) -> None:
    """The verdicts with their effects, why, and how to measure the other claims."""
    record = ClaimsRecord(lines_of(verdicts))
    if record.measured:
        console.print(_view(record.measured))
    for line in record.measured:
        console.print(Text(line.verdict.statement, style="bold"))
        console.print(Text(f"  {line.verdict.verdict}: ", style=STYLES[line.kind]), end="")
        console.print(Text(line.verdict.text), soft_wrap=True)
    for line in record.missing:
        console.print(Text(line.verdict.statement, style="bold"))
        console.print(Text("  not measured. ", style=STYLES[line.kind]), end="")
        console.print(Text(line.verdict.text), soft_wrap=True)
    console.print(
        f"{plural(len(record.lines), 'claim')}, {len(record.measured)} of them measured here"
    )


def _view(lines: list[VerdictLine]) -> Table:
    view = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    view.add_column("claim", overflow="fold")
    view.add_column("verdict", overflow="fold", min_width=10)
    view.add_column("effect\n95 % interval", justify="right", no_wrap=True)
    for line in lines:
        view.add_row(
            Text(line.verdict.id),
            Text(line.verdict.verdict, style=STYLES[line.kind]),
            Text(f"{line.effect}\n{line.interval}"),
        )
    return view
