"""Public datasets: fetched whole and unpacked safely, or one line that says what to do instead."""

from __future__ import annotations

import hashlib
import io
import shlex
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from bench.cli import data as script
from bench.cli.create import create
from bench.data.fetch import Archive, Images, PublicData, fetch_data, known_data, read_data
from bench.data.unpack import take_out
from bench.download import Patience
from bench.environment import CONF
from bench.errors import BenchError, ConfigError, DataError, DownloadError
from tests.composing import composed
from tests.loopback import Server, serving

HURRY = Patience(connect=2, read=0.4, attempts=2, pause=0.01)


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Pil.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def zipped(members: dict[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            opened.writestr(info, "/etc")
    return buffer.getvalue()


SMALL = {
    "coco128/images/train2017/a.png": png(0),
    "coco128/images/train2017/b.png": png(1),
    "coco128/labels/train2017/a.txt": b"3 0.5 0.5 0.25 0.5\n",
    "coco128/README.txt": b"hello",
    "coco128/large.bin": bytes(400_000),  # of several blocks
    "other/c.txt": b"not wanted",
}
ZIP = zipped(SMALL)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "data"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"set.zip": ZIP}) as served:
        yield served


def a_set(server: Server, **pins: object) -> PublicData:
    one = Archive(server.url("set.zip"), "coco128", **pins)
    return PublicData("Licence: ask", "use {here} of {data}", [one], files={"d.yaml": "x: 1\n"})


@pytest.fixture
def get(root: Path) -> Callable[[PublicData], str]:
    return lambda data: fetch_data("mine", data, root, HURRY)


@pytest.fixture
def refused(get: Callable[[PublicData], str]) -> Callable[..., str]:
    """``refused(data, kind)``: the one line of the error."""

    def line(data: PublicData, kind: type[BenchError] = DownloadError) -> str:
        with pytest.raises(kind) as caught:
            get(data)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return line


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_set_is_fetched_unpacked_and_told(server, root, capsys, get):
    assert get(a_set(server)) == f"use {root}/mine of {root}"
    wanted = {name for name in SMALL if name.startswith("coco128/")}
    assert files(root / "mine") == wanted | {"d.yaml", "SHA256SUMS"}
    assert all((root / "mine" / name).read_bytes() == SMALL[name] for name in wanted)
    assert (root / "mine" / "d.yaml").read_text() == "x: 1\n"
    licence, sums = capsys.readouterr().err.splitlines()
    sha256 = hashlib.sha256(ZIP).hexdigest()
    assert licence == "mine: Licence: ask"
    assert f"no SHA-256 was known; it has {sha256}" in sums
    assert (root / "mine" / "SHA256SUMS").read_text() == f"{sha256}  set.zip\n"


def test_the_licence_is_shown_before_anything_is_asked_for(server, monkeypatch, get):
    said = []
    monkeypatch.setattr("bench.data.fetch._tell", lambda line: said.append((line, server.asked[:])))
    get(a_set(server))
    assert said[0] == ("mine: Licence: ask", [])


def test_what_is_there_is_not_fetched_again(server, root, capsys, get):
    get(a_set(server))
    capsys.readouterr()
    shutil.rmtree(root / "downloads")
    assert get(a_set(server)) == f"use {root}/mine of {root}"
    assert server.asked == ["set.zip"]
    assert capsys.readouterr().err == ""


def test_an_archive_put_there_by_hand_is_used(server, root, get):
    (root / "downloads").mkdir(parents=True)
    (root / "downloads" / "set.zip").write_bytes(ZIP)
    get(a_set(server, size=len(ZIP), sha256=hashlib.sha256(ZIP).hexdigest()))
    assert server.asked == []
    assert (root / "mine" / "coco128" / "README.txt").read_bytes() == b"hello"
    assert not (root / "mine" / "SHA256SUMS").exists()  # its hash was known


def test_another_archive_put_there_is_refused_and_kept(server, root, refused):
    (root / "downloads").mkdir(parents=True)
    (root / "downloads" / "set.zip").write_bytes(ZIP)
    line = refused(a_set(server, size=5), DataError)
    assert f"downloads/set.zip has {len(ZIP):,} bytes, not 5. Delete it" in line
    assert (root / "downloads" / "set.zip").exists()


@pytest.mark.parametrize("trick", ["cut", "stall"])
def test_a_lost_connection_is_gone_on_with(trick, server, root, get, refused):
    server.always = trick
    line = refused(a_set(server))
    assert "run the same command to continue" in line
    assert f"Put set.zip at {root}/downloads/set.zip, or use dataset=shapes" in line
    assert not (root / "mine" / "coco128").exists()
    server.always = ""
    get(a_set(server))
    assert server.ranges[-1]
    assert (root / "mine" / "coco128" / "README.txt").exists()


@pytest.mark.parametrize(
    ("pins", "told"), [({"sha256": "0" * 64}, "it was deleted"), ({"size": 5}, "bytes, not 5")]
)
def test_a_file_that_is_not_the_pinned_one(pins, told, server, root, refused):
    assert told in refused(a_set(server, **pins))
    assert files(root) <= {".mine.lock"}


def test_a_corrupt_archive_leaves_nothing_unpacked(server, root, refused):
    server.always = "corrupt"
    line = refused(a_set(server), DataError)
    assert "set.zip is not a complete zip archive" in line
    assert line.endswith("Delete it and fetch it again")
    assert not (root / "mine" / "coco128").exists()


def test_offline_names_file_place_and_the_embedded_alternative(server, root, refused):
    server.shutdown()
    server.server_close()
    line = refused(a_set(server))
    assert "offline?" in line
    assert f"Put set.zip at {root}/downloads/set.zip, or use dataset=shapes" in line


def test_a_second_fetch_must_give_what_the_first_gave(server, root, get, refused):
    get(a_set(server))
    shutil.rmtree(root / "downloads")
    shutil.rmtree(root / "mine" / "coco128")
    server.bodies["set.zip"] = zipped(SMALL | {"coco128/README.txt": b"other"})
    assert "SHA-256" in refused(a_set(server))
    server.bodies["set.zip"] = ZIP
    get(a_set(server))
    assert (root / "mine" / "coco128" / "README.txt").read_bytes() == b"hello"


# Single images


def images_of(server: Server, names: str) -> PublicData:
    listed = names.encode()
    server.bodies |= {"list.txt": listed, "train/a.png": png(0), "train/b.png": png(1)}
    return PublicData(
        "Licence: ask", "use {here}",
        images=Images(server.url("list.txt"), len(listed), server.url("train"), "train2017"),
    )  # fmt: skip


def test_single_images_are_fetched_and_only_the_missing_ones(server, root, get, refused):
    data = images_of(server, "a.png\nb.png\n")
    get(data)
    folder = root / "mine" / "train2017"
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png"}
    sums = (root / "mine" / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in sums] == ["train2017/a.png", "train2017/b.png"]
    (folder / "b.png").unlink()
    server.asked.clear()
    get(data)
    assert server.asked == ["train/b.png"]
    (folder / "b.png").unlink()
    server.bodies["train/b.png"] = png(2)
    assert "SHA-256" in refused(data)
    assert not (folder / "b.png").exists()


def test_an_image_that_is_lost_is_one_line(server, root, refused):
    line = refused(images_of(server, "a.png\nlost.png\n"))
    assert "train/lost.png cannot be fetched (the server answers 404)" in line
    assert f"into {root}/mine/train2017, or use dataset=shapes" in line


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/a.png"])
def test_a_list_cannot_lead_out_of_its_folder(name, server, root, refused):
    line = refused(images_of(server, f"{name}\n"), DataError)
    assert "is not a plain file name" in line
    assert server.asked == ["list.txt"]


# Archives


@pytest.mark.parametrize(
    "name", ["../evil.txt", "coco128/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:/evil.txt"]
)
def test_no_member_leads_out_of_an_archive(name, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(SMALL | {name: b"evil"}))
    with pytest.raises(DataError, match="is not safe to unpack"):
        take_out(tmp_path / "a.zip", "coco128", tmp_path / "deep" / "er" / "out")
    assert not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "deep" / "er" / "out").exists()


def test_no_link_is_unpacked(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(SMALL, link="coco128/link"))
    with pytest.raises(DataError, match="'coco128/link' is a link"):
        take_out(tmp_path / "a.zip", "coco128", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_file_of_an_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(ZIP)
    take_out(tmp_path / "a.zip", "other/c.txt", tmp_path / "x" / "c.txt")
    assert files(tmp_path) == {"a.zip", "x/c.txt"}
    with pytest.raises(DataError, match="does not contain labels"):
        take_out(tmp_path / "a.zip", "labels", tmp_path / "labels")


def test_an_archive_for_which_there_is_no_room(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(ZIP)
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(DataError, match="Free space, or set BENCH_DATA"):
        take_out(tmp_path / "a.zip", "coco128", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# The files under conf/data


@pytest.mark.parametrize("name", known_data(CONF / "data"))
def test_every_set_reads_and_says_its_licence(name):
    data = read_data(name, CONF / "data")
    assert data.licence
    assert all(one.download.url.endswith(".zip") for one in data.archives)
    assert data.archives or data.images


def test_a_set_that_there_is_not_and_a_misspelt_field_are_one_line(tmp_path, capsys):
    assert script.main(["shapes"]) == 2
    assert (
        "no dataset 'shapes' to fetch. Use coco-calib, coco-val2017, coco128; dataset=shapes"
        in (capsys.readouterr().err)
    )
    (tmp_path / "mine.yaml").write_text("licence: x\nuse: y\narchive: []\n")
    with pytest.raises(Exception, match="archive"):
        read_data("mine", tmp_path)
    with pytest.raises(ConfigError):
        read_data("other", tmp_path)


def overrides_of(command: str) -> list[str]:
    """What the last ``make`` of a printed command gives to the harness."""
    words = shlex.split(command.rpartition("&&")[2])
    assert words.pop(0) == "make"
    made = subprocess.run(
        ["make", "-n", "--no-print-directory", *words], cwd=CONF.parent, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    (line,) = (line for line in made.stdout.splitlines() if "int8bench sweep" in line)
    return shlex.split(line.partition("int8bench sweep")[2])


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("dataset", ["imagefolder", "images", "voc"])
def test_make_sweep_says_where_images_lie_in_the_dataset_s_own_words(dataset):
    given = overrides_of(f"make sweep DATASET={dataset} IMAGES=a CALIBRATION_IMAGES=b")
    assert {"dataset.root=a", "dataset.calibration_root=b"} <= set(given)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_sweep_takes_the_file_that_a_yolo_dataset_is():
    given = overrides_of("make sweep DATASET=yolo FILE=data.yaml")
    assert "dataset.file=data.yaml" in given
    assert not [word for word in given if word.startswith(("dataset.images", "dataset.root"))]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("given", ["IMAGES", "ANNOTATIONS", "CALIBRATION_IMAGES"])
def test_make_sweep_says_that_a_yolo_dataset_is_a_file(given):
    made = subprocess.run(
        ["make", "-n", "sweep", "DATASET=yolo", f"{given}=a"], cwd=CONF.parent,
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 2
    (line,) = made.stderr.splitlines()
    assert "DATASET=yolo takes FILE=data.yaml" in line
    assert given in line


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("name", known_data(CONF / "data"))
def test_the_printed_command_composes(name, root):
    use = " ".join(read_data(name, CONF / "data").use.split())
    given = [word.partition("=") for word in overrides_of(use.format(here=root / name, data=root))]
    plain = {key: values.split(",")[0] for key, _, values in given}
    others = [plain | {key: own} for key, _, values in given for own in values.split(",")[1:]]
    for overrides in [plain, *others]:  # each value once; all products would take long
        composed(*(f"{key}={value}" for key, value in overrides.items()))


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_printed_command_works_on_coco128(server, root):
    """A little archive of the real one's layout, under the real YAML."""
    data = read_data("coco128", CONF / "data")
    [archive] = data.archives
    data = replace(data, archives=[replace(archive, url=server.url("set.zip"))])
    command = fetch_data("coco128", data, root, HURRY)
    config = composed(*(word.split(",")[0] for word in overrides_of(command)))
    dataset = create(config.dataset, "dataset", task="detection")
    assert dataset.name == "coco"  # whose weights the command asks for
    assert len(dataset.class_names) == 80
    assert (dataset.class_names[3], dataset.class_names[79]) == ("motorcycle", "toothbrush")
    assert len(dataset.validation) == len(dataset.calibration) == 2
    assert dataset.boxes[0].labels.tolist() == [3]
    assert dataset.validation.image(0).shape == (12, 16, 3)
