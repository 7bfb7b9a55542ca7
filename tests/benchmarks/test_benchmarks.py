"""The benchmark measures what it says, at a size that says nothing about speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.model.zoo import CARRIED
from tests.benchmarks import __main__ as command
from tests.benchmarks import coverage, racing
from tests.benchmarks import subject as subjects
from tests.benchmarks.isolated import isolated
from tests.benchmarks.memory import Memory, growth
from tests.benchmarks.parts import KEYS
from tests.benchmarks.peer import Comparison, OurRun, PeerRun, peer_run
from tests.benchmarks.scale import fit
from tests.benchmarks.scenes import draw_scenes
from tests.benchmarks.subject import Subject, load_subject

SMALLEST = CARRIED / "resnet18_shapes.onnx"
TINY = (
    *("--images", "2", "--rounds", "1", "--memory-sizes", "2"),
    *("--peer-sizes", "2", "--scale-sizes", "1,2", "--coverage-trials", "0.01"),
)


@pytest.fixture(scope="module")
def small() -> Subject:
    return load_subject(SMALLEST)


def benchmark(folder: Path, *arguments: str) -> dict[str, Any]:
    """The command on the smallest network instead of the embedded default; its JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "EMBEDDED", SMALLEST)
        patch.setattr(coverage, "SETTINGS", coverage.SETTINGS[:1])
        patch.delenv("BENCH_MODELS", raising=False)
        patch.chdir(folder)
        command.main([*TINY, "--out", str(folder), *arguments])
    content: dict[str, Any] = json.loads((folder / "benchmark.json").read_text())
    return content


@pytest.mark.slow
def test_every_figure_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = benchmark(tmp_path)
    assert found.pop("memory_ratio_192_to_8") is None  # neither was measured
    keys = [key for key in KEYS if key in found]
    assert all(found[key] > 0 for key in keys)
    own = found["models"][SMALLEST.stem]
    assert {key: own[key] for key in keys} == {key: found[key] for key in keys}
    assert all(seconds > 0 for side in own["collection_seconds"].values() for seconds in side)
    assert [(run["calibrator"], run["outcome"]) for run in own["peer"]["theirs"]] == [
        ("MinMax", "done"),
        ("Entropy", "done"),
        ("Percentile", "done"),
    ]
    for side in own["diagnosis"]["ours"], own["diagnosis"]["theirs"]:
        assert side["outcome"] == "done"
        assert side["judged"] > len(side["worst"]) == 3
    assert (tmp_path / "scaling.png").stat().st_size > 0
    header, line = (tmp_path / "coverage.csv").read_text().splitlines()
    simulated = dict(zip(header.split(","), line.split(","), strict=True))
    assert [simulated[name] for name in ("metric", "images", "trials_best")] == ["Top-1", "40", "2"]
    printed = capsys.readouterr().out
    assert "theirs / ours" in printed
    assert "half-samples" in printed


def test_what_is_not_measured_is_null(tmp_path: Path) -> None:
    found = benchmark(tmp_path, "--only", "thresholds")
    assert [key for key in KEYS if found[key] is not None] == ["entropy_ms_per_tensor"]
    assert set(found["models"][SMALLEST.stem]["threshold_ms_per_tensor"]) == {
        "explicit",
        "implicit",
    }
    assert not (tmp_path / "scaling.png").exists()
    assert not (tmp_path / "coverage.csv").exists()


def test_a_peer_beyond_its_limit_is_killed_and_told(small: Subject) -> None:
    scenes = draw_scenes(small.size, 1)
    run = peer_run(small, SMALLEST, scenes, 1, "MinMax", ["Conv"], None, limit_mb=60)
    assert run.outcome == f"killed at {run.peak_mb:.0f} MB"
    assert run.peak_mb > 60
    ratios = compared(run).time(), compared(run).memory()
    assert all(ratio.is_lower_bound and ratio.value is not None for ratio in ratios)


def test_a_failure_gives_no_ratio() -> None:
    ended = isolated(fit, [], [])
    assert ended.result is None
    assert ended.trouble.startswith("failed: Traceback")
    ratio = compared(peer("MinMax", 8, None, 1, 100, ended.trouble)).time()
    assert ratio.value is None


def test_growth_is_from_the_fewest_images_to_the_most() -> None:
    memory = [Memory("explicit", size, 100, peak) for size, peak in ((8, 200), (192, 210))]
    assert growth(memory, "explicit", 8, 192) == 1.05
    assert growth(memory, "explicit", 8, 64) is None


def test_ratios_are_of_all_files_and_of_the_largest_process() -> None:
    runs = [
        peer("MinMax", 8, None, 2, 100),
        peer("Entropy", 32, None, 6, 800),
        peer("Entropy", 32, 8, 10, 200),
    ]
    found = compared(*runs)
    assert (found.time().value, found.memory().value) == (8, 8)
    assert (found.time(in_chunks=True).value, found.memory(in_chunks=True).value) == (12, 2)


def peer(
    calibrator: str, size: int, chunk: int | None, seconds: float, mb: float, outcome: str = "done"
) -> PeerRun:
    return PeerRun(calibrator, size, chunk, seconds, mb, 1, outcome)


def compared(*runs: PeerRun) -> Comparison:
    """The runs against one of ours of a second and 100 MB."""
    return Comparison([OurRun(1, 100, 1, {})], list(runs), 0)


def test_races_are_simulated_at_every_look() -> None:
    lines = list(racing.simulate(racing.Setting(0, 200, trials=10)))
    assert [line.seen for line in lines] == [25, 38, 50, 75, 100]
    assert all(line.trials == 20 for line in lines)
    assert all(line.wrong_in_a_race_of_24 == 0.0 for line in lines)
    reaches = [line.reach for line in lines]
    assert reaches == sorted(reaches, reverse=True)
