"""Run cases with known results, and list the deviations: ``int8bench guard FILE``.

For CI: exit status 0 if all is as expected, 1 if anything is not, 2 for bad input. A case that is
marked as known to fail but passes also gives 1, so that the file is updated.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.cache import write_atomically
from bench.claims.claim import load_claims
from bench.claims.judgements import Judgements
from bench.claims.select import measured_rows
from bench.claims.verdict import judge
from bench.cli.command import Parser
from bench.cli.compose import build_typed
from bench.cli.expected import (
    Case,
    ExpectedVerdict,
    Reference,
    read_reference,
    write_reference,
)
from bench.cli.messages import command, one_line
from bench.errors import BenchError, ConfigError
from bench.report.wording import plural
from bench.results.row import Row
from bench.results.store import RowStore
from bench.results.table import make_table, read_table
from bench.run.execute import execute_once
from bench.run.shared import Shared

REFERENCE = Path("results/reference/expected.yaml")
WORSE = ("REGRESSION", "FIXED")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case or a verdict: ok, REGRESSION, known to fail, or FIXED."""

    name: str
    state: str
    text: str = ""

    @property
    def line(self) -> str:
        return f"{self.state:<13} {self.name}{': ' * bool(self.text)}{self.text}"


@command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "int8bench guard",
        description="Run the cases of FILE, or those whose name matches --only, and list the "
        "results that are not as expected. Finished runs are not repeated. Exit status 1: some "
        "results are not as expected.",
    )
    add = parser.add_argument
    add(
        "file", metavar="FILE", type=Path, nargs="?", default=REFERENCE, help="a YAML file of cases"
    )
    add("--only", metavar="GLOB", default="*", help="the cases and verdicts to check, by name")
    add(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("results/guard"),
        help="where rows are written",
    )
    add(
        "--write",
        metavar="FOLDER",
        type=Path,
        help="print a FILE that expects the results of this sweep",
    )
    options = parser.parse_args(argv)
    if options.write:
        print(write_reference(read_table(options.write), options.write), end="")
        return 0
    reference = read_reference(options.file)
    outcomes = []
    for outcome in check(reference, options.only, options.out):
        print(outcome.line, flush=True)
        outcomes.append(outcome)
    if not outcomes:
        names = ", ".join(reference.names)
        raise ConfigError(
            f"--only={options.only} matches no case of {options.file}", f"Use {names}"
        )
    worse = [outcome for outcome in outcomes if outcome.state in WORSE]
    listed = "".join(f"{outcome.line}\n" for outcome in worse)
    write_atomically(options.out / "regressions.txt", listed.encode())
    wrong = f"{len(worse)} not as expected: {options.out / 'regressions.txt'}"
    print(f"{plural(len(outcomes), 'result')} checked, {wrong if worse else 'all as expected'}")
    return 1 if worse else 0


def check(reference: Reference, only: str, out: Path) -> Iterator[Outcome]:
    """The outcomes of the cases and verdicts whose name matches ``only``, one after the other.

    The cases of such a verdict are also run, but not reported.
    """
    store = RowStore(out)
    made: dict[str, Row] = {}
    verdicts = [one for one in reference.verdicts if fnmatchcase(one.name, only)]
    needed = {name for verdict in verdicts for name in verdict.cases}
    with Shared() as shared:
        for case in reference.cases:
            chosen = fnmatchcase(case.name, only)
            if chosen or case.name in needed:
                made[case.name] = row = _run(case, store, shared)
                if chosen:
                    yield _outcome(case, case.differences(row))
    for verdict in verdicts:
        yield _outcome(verdict, _judge(verdict, [made[name] for name in verdict.cases], out))


def _run(case: Case, store: RowStore, shared: Shared) -> Row:
    try:
        run = build_typed(case.overrides, shared)
        return execute_once(run, store, shlex.join(case.overrides))
    except (BenchError, HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"case {case.name}: {one_line(error)}") from error
    except KeyboardInterrupt:
        print(
            "interrupted. Finished runs are kept; run the same command to continue",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def _judge(expected: ExpectedVerdict, rows: Sequence[Row], out: Path) -> str:
    (claim,) = (claim for claim in load_claims() if claim.id == expected.claim)
    judged = judge(claim, measured_rows(make_table(rows)), Judgements(out))
    return "" if judged.verdict == expected.verdict else (
        f"{judged.verdict}, expected {expected.verdict}. {judged.text}"
    )  # fmt: skip


def _outcome(one: Case | ExpectedVerdict, wrong: str) -> Outcome:
    if wrong:
        if one.known_to_fail:
            return Outcome(one.name, "known to fail", f"{wrong} ({one.known_to_fail})")
        return Outcome(one.name, "REGRESSION", wrong)
    if one.known_to_fail:
        text = (
            f"as expected, although marked as known to fail ({one.known_to_fail}). "
            "Remove known_to_fail"
        )
        return Outcome(one.name, "FIXED", text)
    return Outcome(one.name, "ok")
