"""Downloads against a server on the loopback that misbehaves in every way a real one does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.download import Download, Patience, fetch
from bench.errors import ConfigError, DownloadError
from tests.loopback import Server, serving

NAME = "net.onnx"
BODY = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(BODY).hexdigest()
HURRY = Patience(connect=2, read=0.4, attempts=3, pause=0.01)
MEND = "Put the file at models/net.onnx, or use dataset=shapes"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving({NAME: BODY}) as served:
        yield served


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "net.onnx"


def get(server: Server, target: Path, sha256: str = SHA256) -> None:
    fetch(Download(server.url(NAME), sha256), target, MEND, HURRY)


def refused(server: Server, target: Path, sha256: str = SHA256) -> str:
    with pytest.raises(DownloadError) as caught:
        get(server, target, sha256)
    line = str(caught.value)
    assert "\n" not in line
    assert server.url(NAME) in line
    assert line.endswith(MEND)  # where to put the file, and what needs none
    assert not target.exists()
    return line


def starts(server: Server) -> list[float]:
    """Where each request began, as a share of the file; up to a block that has come is lost."""
    given = [r.removeprefix("bytes=").removesuffix("-") if r else "0" for r in server.ranges]
    return [int(start) / len(BODY) for start in given]


def is_alone(target: Path) -> bool:
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_whole_file_and_nothing_beside_it(server: Server, target: Path) -> None:
    get(server, target, SHA256.upper())
    assert target.read_bytes() == BODY
    assert is_alone(target)


@pytest.mark.parametrize("trick", ["cut", "stall"])
def test_a_body_that_breaks_off_is_gone_on_with(trick: str, server: Server, target: Path) -> None:
    server.tricks = [trick, trick]
    get(server, target)
    assert target.read_bytes() == BODY
    assert is_alone(target)
    assert starts(server) == [0, pytest.approx(0.5, abs=0.13), pytest.approx(0.75, abs=0.13)]


@pytest.mark.parametrize("trick", ["cut", "stall"])
def test_what_has_come_stays_for_the_next_command(trick: str, server: Server, target: Path) -> None:
    server.always = trick
    line = refused(server, target)
    assert "could not be fetched whole" in line
    assert "MB are kept; run the same command to continue" in line
    assert len(server.ranges) == 3
    server.always = ""
    get(server, target)
    assert target.read_bytes() == BODY
    assert starts(server)[-1] > starts(server)[-2] > 0.5
    assert is_alone(target)


def test_another_version_of_the_file_is_fetched_from_its_beginning(
    server: Server, target: Path
) -> None:
    server.always = "cut"
    refused(server, target)
    server.always, server.etag, server.bodies[NAME] = "", '"two"', BODY[::-1]
    get(server, target, hashlib.sha256(BODY[::-1]).hexdigest())
    assert target.read_bytes() == BODY[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_version_nothing_is_gone_on_with(etag: str, server: Server, target: Path) -> None:
    server.etag, server.tricks = etag, ["cut"]
    get(server, target)
    assert target.read_bytes() == BODY
    assert server.ranges == [None, None]
    server.always = "cut"
    target.unlink()
    assert "kept" not in refused(server, target)


@pytest.mark.parametrize("trick", ["ignore range", "other part"])
def test_a_server_that_does_not_send_the_rest(trick: str, server: Server, target: Path) -> None:
    server.tricks = ["cut", trick]
    get(server, target)
    assert target.read_bytes() == BODY
    assert is_alone(target)


def test_a_part_that_is_whole_already(server: Server, target: Path) -> None:
    """Stopped between the last byte and the renaming."""
    server.always = "cut"
    refused(server, target)
    server.always = ""
    part = target.with_name("net.onnx.part")
    part.write_bytes(BODY)
    get(server, target)
    assert target.read_bytes() == BODY
    target.rename(part)
    part.write_bytes(BODY + b"more")  # longer than the file: of no use
    target.with_name("net.onnx.part.version").write_text(server.etag)
    get(server, target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("trick", ["corrupt", ""])
def test_a_corrupt_file_is_deleted(trick: str, server: Server, target: Path) -> None:
    server.always = trick
    line = refused(server, target, SHA256 if trick else "0" * 64)
    assert "it was deleted" in line
    assert not list(target.parent.iterdir())


def test_a_file_that_is_not_there_is_asked_for_once(server: Server, target: Path) -> None:
    server.always = "404"
    assert "the server answers 404" in refused(server, target)
    assert len(server.ranges) == 1


def test_a_server_in_trouble_is_asked_again(server: Server, target: Path) -> None:
    server.tricks = ["500", "503"]
    get(server, target)
    assert target.read_bytes() == BODY
    target.unlink()
    server.always = "500"
    assert "the server answers 500" in refused(server, target)


def test_offline_is_one_line(server: Server, target: Path) -> None:
    server.shutdown()
    server.server_close()
    assert "offline?" in refused(server, target)


def test_a_redirect_leads_to_no_other_scheme(server: Server, target: Path) -> None:
    server.always = f"to https://127.0.0.1:{server.server_address[1]}/net.onnx"
    assert "leads to an address that is not" in refused(server, target)


def test_no_other_kind_of_address_and_no_other_kind_of_hash() -> None:
    with pytest.raises(ConfigError, match=r"download\.url=ftp://x is not an https address"):
        Download("ftp://x", SHA256)
    for url in ("http://example.org/x", "http://127.0.0.1.example.org/x", "https", "http://[x"):
        with pytest.raises(ConfigError, match="not an https address"):
            Download(url, SHA256)
    with pytest.raises(ConfigError, match=r"download\.sha256=123 is not a SHA-256"):
        Download("https://x", "123")


def test_a_length_that_is_not_the_file_s_is_refused_before_its_bytes(
    server: Server, target: Path
) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(Download(server.url(NAME), size=9), target, MEND, HURRY)
    assert f"is another file now ({len(BODY):,} bytes, not 9)" in str(caught.value)
    assert str(caught.value).endswith(MEND)
    assert len(server.ranges) == 1
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_file_of_which_no_hash_is_known(size: int | None, server: Server, target: Path) -> None:
    server.tricks = ["cut"]
    fetch(Download(server.url(NAME), size=size), target, MEND, HURRY)
    assert target.read_bytes() == BODY
    assert len(server.ranges) == 2
    assert is_alone(target)
