"""Presets of ``conf/experiment``, the help that lists them, and keys that nothing reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.__main__ import main
from bench.cli.config import register
from bench.cli.run_help import listed_presets
from bench.cli.watch import _count, _swept
from bench.environment import CONF
from tests.composing import refusal
from tests.docs.fences import ROOT
from tests.e2e.command import CUSTOM, Bench, probed_once

PRESETS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
RUNS = {"finding": 16, "full": 120, "quick": 6, "real-yolo": 24}


@pytest.fixture
def bench(tmp_path: Path, files: Path, probes: Path) -> Iterator[Bench]:
    with probed_once(probes):
        yield Bench(tmp_path / "out", tmp_path / "cache", files)


def of_sweep(*words: str) -> Any:
    """The configuration of a sweep of these words, with Hydra's own part."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(words), return_hydra_config=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_of_a_preset_composes(preset):
    config = of_sweep(f"+experiment={preset}")
    swept = _swept(config)
    assert _count(swept) == RUNS[preset]
    for override in swept:
        for word in override.sweep_string_iterator():
            of_sweep(f"+experiment={preset}", f"{override.get_key_element()}={word}")


def test_what_is_typed_counts_instead_of_the_presets_values():
    config = of_sweep("+experiment=quick", "plan=float_first")
    assert _count(_swept(config)) == 3
    typed = OverridesParser.create().parse_overrides(["plan=all,float_first,float_head"])
    config.hydra.overrides.task = ["+experiment=quick", *(one.input_line for one in typed)]
    assert _count(_swept(config)) == 9


def test_a_preset_on_your_data_has_a_folder_of_its_own():
    config = of_sweep("+experiment=finding", "model=resnet18", "dataset=imagefolder")
    assert config.sweep.out == "results/finding-resnet18-imagefolder"


def test_a_preset_runs_and_its_rows_say_how(bench: Bench):
    ended = bench(
        "--multirun",
        "+experiment=quick",
        *CUSTOM,
        "calibrator=minmax,mse",
        "plan=all",
        "timing=off",
        report=True,
    )
    assert ended.status == 0, ended.err
    assert sorted(bench.table["calibrator"]) == ["minmax", "mse"]
    assert all("+experiment=quick" in typed for typed in bench.table["overrides"])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+foo=1", "nothing reads foo"),
        ("++foo.bar=1", "nothing reads foo"),
        ("+weight.rule=mse", "nothing reads weight. Did you mean weights?"),
        ("+calibration.sise=1", "nothing reads calibration.sise. Did you mean calibration.size?"),
        ("+model.preprocess.foo=1", "nothing reads model.preprocess.foo. There is fit"),
        ("+experiment=foo", "experiment=foo is unknown. Use one of finding, full, quick"),
        ("experiment=quick", "use +experiment=quick"),
        ("+dataset.foo=1", "has no option 'foo'"),
        ("+head=yolov8", "option head is unknown"),
    ],
)
def test_a_key_that_nothing_reads_is_refused(tmp_path, word, said):
    assert said in refusal(tmp_path, word)


def test_a_sweep_with_such_a_key_begins_nothing(bench: Bench):
    ended = bench("--multirun", "+foo=1", "calibrator=minmax,mse", report=True)
    assert ended.status == 2 and "nothing reads foo" in ended.one_line
    assert not bench.out.exists()


def test_help_lists_presets_and_no_group_that_nobody_chooses(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(f"+experiment={preset}: " in text for preset in PRESETS)
    listed = text[text.index("What to choose") : text.index("Presets:")].splitlines()
    groups = {line.split(":")[0] for line in listed if ": " in line}
    assert {"calibrator", "dataset", "engine", "model", "plan"} <= groups
    assert not groups & {"claim", "data", "head", "reference", "experiment"}


def test_descriptions_are_the_comments(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "a.yaml").write_text("# @package _global_\n# One,\n# two.\nx: 1\n")
    assert listed_presets(tmp_path) == "+experiment=a: One, two."


@pytest.mark.parametrize("words", [["--help"], ["calibrator=minmax,mse", "--cfg", "job"]])
def test_a_reader_that_has_seen_enough_is_no_error(words):
    command = subprocess.Popen(
        [sys.executable, "-m", "bench", "sweep", *words], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert command.stdout and command.stderr
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait() == 0


def test_the_configuration_of_a_sweep_is_that_of_its_first_run(capsys):
    assert main(["sweep", "calibrator=mse,minmax", "--cfg", "job", "calibration.size=8,16"]) == 0
    text = capsys.readouterr().out
    assert "_target_: bench.calibration.mse.Mse" in text and "size: 8" in text
    assert "recommended" not in text
