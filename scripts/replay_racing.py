"""What racing would have saved: ``python scripts/replay_racing.py FOLDER ...``.

Evaluates every measured run of a finished sweep once more, keeps what was right image by image,
and replays ``sweep.race=true`` on it in many orders of the images. The real answer of the rows that
each race completes is compared with that of the whole sweep.
"""

from __future__ import annotations

import argparse
import pickle
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from rich.console import Console
from rich.progress import track

from bench.cli.compose import build_typed
from bench.cli.messages import command
from bench.evaluation.task import Score
from bench.results.store import RowStore
from bench.run.measure import build_for_accuracy, evaluate, int8_model, task_of, validation_images
from bench.run.measure import baseline_of
from bench.run.ranges import find_run_ranges, quantize
from bench.run.shared import Shared


def collect(folder: Path, keep: Path) -> dict[str, Score]:
    keep.mkdir(parents=True, exist_ok=True)
    scores = {}
    with Shared() as shared:
        for row in track(RowStore(folder).rows(), folder.name, console=Console(stderr=True)):
            if row.status != "ok":
                continue
            path = keep / f"{row.run_key}.pickle"
            if not path.exists():
                words = [w for w in shlex.split(row.overrides) if not w.startswith("also_build")]
                run = build_typed(words, shared)
                images = validation_images(run)
                baseline, _ = baseline_of(run, images)
                ranges = find_run_ranges(run)
                model = int8_model(run, ranges, quantize(run, ranges))
                with build_for_accuracy(run, run.engine, model) as session:
                    evidence = evaluate(run, session, images)
                score = task_of(run, baseline.predictions).score(evidence.predictions)
                if abs(score.value - row.int8) > 1e-12:
                    raise SystemExit(f"{row.run_key}: {score.value} is not {row.int8}")
                path.write_bytes(pickle.dumps(score))
            scores[row.run_key] = pickle.loads(path.read_bytes())
    return scores


if __name__ == "__main__":
    collect(Path(sys.argv[1]), Path(sys.argv[2]))
