"""Damage of every kind of cache and results file, at random places: told with the file's name, made
again where it can be, and never in a row."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.results import packs, store
from tests.chaos.counts import Counts
from tests.chaos.sweeps import Ground, Worker, check_words, compare
from tests.e2e.command import Bench, Ended

BLOCK = 4096


def zeroed_block(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(max(len(content) - BLOCK, 1))
    return content[:at] + bytes(len(content[at : at + BLOCK])) + content[at + BLOCK :]


def flipped_bit(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content))]


def empty(content: bytes, rng: random.Random) -> bytes:
    return b""


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    damage.__name__: damage for damage in (zeroed_block, flipped_bit, truncated, empty)
}
OTHER = "other_file"
"""The content of another file of the kind, or of another kind where there is only one."""

CACHES = ("truths-*.npz", "pixels-*.npy", "fp32-*.npz", "statistics-*.npz", "probe-*.json")
RESULTS = (
    "rows/*.json", "judged/*.npz", "ranges/*.json", "ranges/*.rules.json", "histograms/*.npz",
    "losses/*.json",
    "logs/*.log", "pictures/*.jpg", "layers/*.json", "rounding/*.json", "table.csv",
    "table.parquet", "claims.json", "references.json", "report.json", "checksums.json",
)  # fmt: skip
PACKS = "packed/*.parquet"
TOLD_BY_REPORT = ("table.csv", "claims.json", "references.json", "report.json", PACKS)
TOLD_BY_SWEEP = (
    "rows/*.json", "rounding/*.json", "judged/*.npz", "ranges/*.json", "ranges/*.rules.json",
    "losses/*.json", "layers/*.json", "logs/*.log",
)  # fmt: skip
"""What each reads for certain. The rest is read where a report shows it: then it is told, or the
page is as it was."""


def run(ground: Ground, rounds: int, seed: int, counts: Counts) -> None:
    """Every damage of every kind, so many times."""
    rng, worker = random.Random(seed), Worker()
    try:
        expected = _drawn(ground.copy("damage"), worker)
        whole = ground.whole  # no run of it may have had a picture to show
        kinds = [own for own in CACHES if any(whole.cache.glob(own))]
        kinds += [own for own in RESULTS if any(whole.out.glob(own))]
        for _ in range(rounds):
            for kind in (*kinds, PACKS):
                for damage in (*DAMAGES, OTHER):
                    counts.damages += 1
                    print(f"damage {counts.damages}", file=sys.stderr, end="\r")
                    what = f"damage {counts.damages} ({damage} of {kind})"
                    if kind in CACHES:
                        _damage_cache(ground, kind, damage, rng, worker, counts, what)
                    else:
                        _damage_results(ground, kind, damage, rng, worker, counts, what, expected)
    finally:
        worker.close()


def damage_one(folder: Path, kind: str, damage: str, rng: random.Random) -> Path:
    """Damage one file of the kind for certain, and return its path."""
    paths = sorted(folder.glob(kind))
    path = rng.choice(paths)
    content = path.read_bytes()
    if damage == OTHER:
        others = [*(own.read_bytes() for own in paths), b"something else"]
        changed = next(own for own in others if own != content)
    else:
        changed = DAMAGES[damage](content, rng)
        while changed == content:  # a block of zeros, zeroed
            changed = flipped_bit(content, rng)
    path.write_bytes(changed)
    return path


def pack_few(out: Path) -> None:
    """Pack the runs of a folder, few as they are."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (packs, store):
            patch.setattr(module, "FEWEST_LOOSE", 1)
        store.RowStore(out).pack()


def _damage_cache(
    ground: Ground, kind: str, damage: str, rng: random.Random, worker: Worker, counts: Counts,
    what: str,
) -> None:  # fmt: skip
    """A fresh sweep on a damaged cache has the rows of the first one, and names the file."""
    bench = ground.fresh("damage")
    path = damage_one(bench.cache, kind, damage, rng)
    ended = worker.execute(ground, bench)
    if _well(ended, counts, what):
        compare(ground, bench.out, counts, what)
        _check_told(ended, path, counts, what)


def _damage_results(
    ground: Ground, kind: str, damage: str, rng: random.Random, worker: Worker, counts: Counts,
    what: str, expected: str,
) -> None:  # fmt: skip
    """A report draws nothing of it, or says so; the sweep puts right what it can."""
    bench = ground.copy("damage")
    if kind == PACKS:
        pack_few(bench.out)
    path = damage_one(bench.out, kind, damage, rng)
    drawn = worker.command("report", str(bench.out))
    if drawn.status == -1:
        counts.add("hangs", what)
        return
    told = path.name in drawn.err
    counts.add("untold", f"{what}, report", kind in TOLD_BY_REPORT and not told)
    if check_words(drawn, counts, f"{what}, report", (0, 2)):
        changed = _page(bench) != expected and not told
        counts.add("silently_wrong", f"{what}: the report differs", changed)
    ended = worker.execute(ground, bench)
    if _well(ended, counts, what):
        compare(ground, bench.out, counts, what)
        if kind in TOLD_BY_SWEEP:
            _check_told(ended, path, counts, what)


def _drawn(bench: Bench, worker: Worker) -> str:
    assert worker.command("report", str(bench.out)).status == 0
    return _page(bench)


def _page(bench: Bench) -> str:
    return (bench.out / "report.html").read_text()


def _well(ended: Ended, counts: Counts, what: str) -> bool:
    if ended.status == -1:
        counts.add("hangs", what)
        return False
    return check_words(ended, counts, what)


def _check_told(ended: Ended, path: Path, counts: Counts, what: str) -> None:
    lines = [line for line in ended.err.splitlines() if path.name in line]
    counts.add("untold", f"{what}: {len(lines)} lines name {path.name}", len(lines) != 1)
