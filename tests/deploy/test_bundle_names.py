"""Names of tensors in a bundle: they stand in commands and on a page, and run nothing there."""

from __future__ import annotations

import json
import subprocess

import onnx
import pytest

from bench.deploy.bundle import in_markdown, in_shell, require_printable
from bench.errors import ConfigError
from tests.deploy.refusal import refused
from tests.e2e.command import CUSTOM, Bench

pytestmark = pytest.mark.e2e


def test_names_are_one_word_of_a_command_and_one_line_of_the_page(tmp_path):
    ran = tmp_path / "ran"
    for name in ("images", f"x'$(touch {ran})'", f"`touch {ran}`", f'"; touch {ran}; "', "a b\\"):
        word = f"--loadInputs={in_shell(name)}:samples/batch-$i.bin"
        script = f"i=0; printf %s {word}"
        said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert said.stdout == f"--loadInputs={name}:samples/batch-0.bin"
    assert not ran.exists()
    assert in_markdown("a") == "`a`" and in_markdown("a`b") == "`` a`b ``"
    for name in ("a\nb", "a\x1b[2J", "\u202ea", "a\x00"):
        with pytest.raises(ConfigError, match="cannot be printed"):
            require_printable([name], "tensor")


def test_a_tensor_s_name_runs_nothing_from_the_page(run_with_input, deploy, tmp_path):
    """The name of the network's input stands in a command."""
    name = f"x'$(touch {tmp_path}/ran)'"
    bench = run_with_input(name)
    assert deploy(bench.out, "--to", tmp_path / "b").status == 0
    page = (tmp_path / "b" / "README.md").read_text()
    command = next(line for line in page.splitlines() if "loadInputs" in line)
    script = command.replace("trtexec", "printf '%s\\n'").replace("$i", "0")
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert f"--loadInputs='{name}':samples/batch-0.bin" in said.stdout.splitlines()
    assert not (tmp_path / "ran").exists()
    assert json.dumps(name) in page  # in the lines of Python


def test_a_tensor_s_name_with_a_line_break_is_refused(run_with_input, deploy, tmp_path):
    bench = run_with_input("x\n```\n# Run this")
    refused(deploy(bench.out, "--to", tmp_path / "b"), "a tensor is called", "sweep again")


@pytest.fixture
def run_with_input(files, tmp_path):
    """``run_with_input(name)``: a small sweep of a classifier whose input has this name."""

    def run(name: str) -> Bench:
        proto = onnx.load(files / "classifier.onnx")
        for node in proto.graph.node:
            renamed = [name if own == "images" else own for own in node.input]
            del node.input[:]
            node.input.extend(renamed)
        proto.graph.input[0].name = name
        onnx.save(proto, tmp_path / "model.onnx")
        bench = Bench(tmp_path / "out", tmp_path / "cache", tmp_path)
        words = [word.replace("classifier.onnx", "model.onnx") for word in CUSTOM]
        ended = bench(*words, "engine=onnxruntime")
        assert ended.status == 0, ended.err
        return bench

    return run
