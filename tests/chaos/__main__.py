"""make chaos: what a sweep is put through, counted in ``results/chaos/summary.json``.

Exit status 1 if a row was lost, torn, doubled or wrong, or anything ended in a traceback or a hang.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import damages, kills, mutations, troubles
from tests.chaos.counts import Counts
from tests.chaos.sweeps import FOUR, SIX, prepare_ground, write_json

PARTS = ("kills", "damages", "troubles", "mutations")


def main() -> int:
    options = _options()
    counts, begin = Counts(options.seed), time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            locks = Path(folder) / "locks"  # else it waits for other sweeps, as in a hang
            locks.mkdir(0o700)
            os.environ["XDG_RUNTIME_DIR"] = str(locks)
            _run(options, Path(folder), counts)
    finally:  # what was counted until an interrupt counts too
        seconds = round(time.monotonic() - begin)
        write_json(options.out / "summary.json", {**counts.to_json(), "seconds": seconds})
    print(f"{options.out / 'summary.json'}: {'all well' if counts.all_well else 'NOT well'}")
    return 0 if counts.all_well else 1


def _run(options: argparse.Namespace, folder: Path, counts: Counts) -> None:
    for part in options.only:
        before = time.monotonic()
        if part == "kills":
            kills.run(prepare_ground(folder, SIX), options.kills, options.seed, counts)
        elif part == "damages":
            damages.run(prepare_ground(folder, FOUR), options.rounds, options.seed, counts)
        elif part == "troubles":
            troubles.run(prepare_ground(folder, FOUR), options.seed, counts)
        else:
            counts.take(mutations.run(options.mutations, options.seed))
        print(f"{part}: {time.monotonic() - before:.0f} s", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of all that is random; default %(default)s")
    add("--kills", type=int, default=50, help="default %(default)s")
    add("--rounds", type=int, default=1, help="of every damage of every kind; default %(default)s")
    add("--mutations", type=int, default=500, help="malformed inputs; default %(default)s")
    add("--out", type=Path, default=Path("results/chaos"), help="folder; default %(default)s")
    add(
        "--only",
        type=lambda text: [part for part in PARTS if part in text.split(",")],
        default=PARTS,
        metavar="PART,...",
        help=f"of {','.join(PARTS)}",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
