"""``make lint`` asks for known vulnerabilities, and does not fail where nobody answers."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "scripts" / "audit.py"


def audit(monkeypatch: pytest.MonkeyPatch, answer: Any) -> int:
    """The script's exit status where pip-audit answers so."""
    spec = importlib.util.spec_from_file_location("audit", FILE)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(command: list[str], **options: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, 1, answer, "first\nConnectionError: no route")

    monkeypatch.setattr(script.subprocess, "run", run)
    return script.main()


def packages(*vulns: Any) -> str:
    found = {"name": "pillow", "version": "1.0", "vulns": list(vulns)}
    return json.dumps({"dependencies": [found, {"name": "own", "skip_reason": "not found"}]})


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (packages(), 0, "pip-audit: 1 of 2 pinned packages were looked up"),
        (packages({"id": "CVE-1", "fix_versions": ["1.1"]}), 1, "pillow 1.0: CVE-1, fixed in 1.1"),
        (
            '{"dependencies": [{"name": "own", "skip_reason": "x"}]}',
            0,
            "pip-audit skipped: nothing",
        ),
        ("", 0, "pip-audit skipped: ConnectionError: no route"),
        (subprocess.TimeoutExpired("pip-audit", 30), 0, "pip-audit skipped: no answer in 30 s"),
    ],
)
def test_only_a_known_vulnerability_fails(
    answer: Any, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert audit(monkeypatch, answer) == status
    assert capsys.readouterr().out.startswith(said)
