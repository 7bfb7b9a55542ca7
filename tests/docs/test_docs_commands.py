"""Every command that README and the documentation show would work as it stands."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator

import pytest

from bench.environment import CONF
from scripts.docs_site.axes import axes_page
from tests.docs.checks import Checker
from tests.docs.fences import ROOT, Shown, fences, pages, shown_commands

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

LANGUAGES = {"bash", "text", "yaml", "json", "python"}


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with pytest.MonkeyPatch.context() as patch:
        yield Checker(patch)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_would_work(page, checker):
    shown = list(shown_commands(page.read_text(), page.relative_to(ROOT).as_posix()))
    wrong = [
        f"{command}\n    {said}" for command in shown if (said := checker.problem(command.words))
    ]
    assert not wrong, "\n".join(wrong)


def test_generated_examples_would_work(checker):
    shown = list(shown_commands(axes_page(CONF), "reference/axes.md"))
    assert shown
    assert [checker.problem(command.words) for command in shown] == [""] * len(shown)


def test_the_pages_show_commands():
    shown = [command for page in pages() for command in shown_commands(page.read_text())]
    words = {command.words[0] for command in shown}
    assert {"make", "int8bench", "python", "pip"} <= words
    assert len(shown) > 80


def test_every_block_says_what_it_is():
    for page in pages():
        if (page.name == "README.md" and page.parent == ROOT) or "docs" in page.parts:
            unknown = [
                language for language, _ in fences(page.read_text()) if language not in LANGUAGES
            ]
            assert not unknown, page


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("make swep", "No rule to make target"),
        ("make sweep MODLE=resnet18", "nothing reads MODLE=resnet18"),
        ("make guard MODEL=resnet18", "nothing reads MODEL=resnet18"),
        ("make sweep CALIBRATORS=minmax,entropi", "there is no calibrator=entropi"),
        ("make sweep LAUNCHER=slurm", "there is no hydra/launcher=slurm"),
        ("make sweep OVERRIDES=calibration.sze=8", "calibration.sze"),
        ("make data NAME=coco", "there is no dataset coco"),
        ("int8bench sweep calibratr=minmax", "calibratr"),
        ("int8bench sweep placement=explicitly", "placement"),
        ("int8bench repot results/x", "repot is not a command"),
        ("int8bench report results/x --margn=1", "report results/x --margn=1 ends with 2"),
        ("int8bench cache shw a.cache", "ends with 2"),
        ("python scripts/nothing.py", "scripts/nothing.py does not exist"),
        ("python -m bench plan=float_heads", "there is no plan=float_heads"),
        ("pip install '.[nothing]'", "there is no extra nothing"),
        ("mak sweep", "mak looks like make"),
    ],
)
def test_what_would_not_work_is_seen(command, said, checker):
    assert said in checker.problem(shlex.split(command))


def test_commands_are_collected_as_they_stand():
    text = (
        "Text with `make report OUT=a` and `make x ...`, `make data`, `int8bench cache diff`.\n\n"
        "```bash\nmake sweep A=1 \\\n    B='c d'   # why\n# nothing\n"
        "A=1 int8bench sweep && make b\nint8bench x > y\n```\n\n"
        "```text\nmake nothing\n```\n"
    )
    assert [command.words for command in shown_commands(text)] == [
        ("make", "sweep", "A=1", "B=c d"),
        ("A=1", "int8bench", "sweep"),
        ("make", "b"),
        ("int8bench", "x"),
        ("make", "report", "OUT=a"),
        ("make", "--dry-run", "data"),
        ("int8bench", "cache", "diff", "--help"),
    ]
    assert str(Shown("p", ("a", "b c"))) == "p: a 'b c'"
