"""The command line's first word: a subcommand, an override, or one line that lists the commands."""

from __future__ import annotations

import pytest

from bench.__main__ import COMMANDS, command, main


def test_a_word_that_is_no_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repot"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("error: 'repot' is not a command. Use sweep, inspect, diagnose,")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = main([name, "--help"])
    except SystemExit as end:
        status = end.code or 0
    assert status == 0
    assert f"int8bench {name}" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [([], "commands, each"), (["--version"], "int8bench ")])
def test_int8bench_alone_is_help(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["int8bench", *words])
    with pytest.raises(SystemExit) as end:
        command()
    assert not end.value.code
    assert said in capsys.readouterr().out
