"""Which weights: the user's, the carried, the ones to be put or fetched, in order; never others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.download import Download
from bench.errors import ConfigError, ModelError
from bench.model import zoo
from bench.model.export import Export
from bench.model.zoo import Request, Source, check_weights, find_weights

DOWNLOAD = Download("https://somewhere/net.onnx", "ab" * 32)
EXPORT = Export("ultralytics", "net.pt", 640)
SOURCES = {"shapes": Source("carried:net_shapes.onnx"), "coco": Source("net_coco.onnx")}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> Path:
    """An empty folder of models and an empty cache."""
    (tmp_path / "models").mkdir()
    return tmp_path


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was fetched and how; every fetch succeeds."""
    done: list[str] = []

    def make(how: str):
        def fetch(wanted: object, target: Path, fix: str) -> None:
            done.append(f"{how} {target.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()

        return fetch

    monkeypatch.setattr(zoo, "fetch", make("download"))
    monkeypatch.setattr(zoo, "run_export", make("export"))
    monkeypatch.setattr(Export, "is_possible", True)
    return done


@pytest.fixture
def find(folders):
    """``find(dataset, path, **source)``: the weights, where the file for COCO has this source."""

    def found(dataset: str = "coco", path: str | None = None, **source: object):
        sources = SOURCES | {"coco": Source("net_coco.onnx", **source)}
        return find_weights(request(folders, "net", dataset, path, sources))

    return found


def request(folders, model, dataset, path, sources):
    return Request(model, dataset, path, sources, folders / "models", folders / "cache")


def test_a_file_of_ones_own_goes_first(find):
    found = find("shapes", "mine.onnx")
    assert found.path == Path("mine.onnx")
    assert "mine.onnx" in found.origin


def test_carried_weights(folders, monkeypatch, find):
    monkeypatch.setattr("bench.model.zoo.CARRIED", folders)
    (folders / "models" / "net.onnx").touch()  # COCO's, for all we know
    with pytest.raises(ModelError, match=r"net_shapes\.onnx.* missing") as caught:
        find("shapes")
    assert "\n" not in str(caught.value)
    (folders / "net_shapes.onnx").touch()
    found = find("shapes")
    assert found.path == folders / "net_shapes.onnx"
    assert "carried for shapes" in found.origin


def test_the_named_file_goes_before_the_model_s_and_both_before_the_net(folders, fetched, find):
    models = folders / "models"
    for name in ("net.onnx", "net_coco.onnx"):  # the later one goes first
        (models / name).touch()
        assert find(download=DOWNLOAD, export=EXPORT).path == models / name
    assert not fetched


def test_a_dataset_that_the_model_does_not_speak_of_takes_what_the_folder_has(folders, find):
    models = folders / "models"
    for name in ("net.onnx", "net_voc.onnx"):  # the later one goes first
        (models / name).touch()
        assert find("voc").path == models / name


def test_what_was_fetched_once_is_not_fetched_again(folders, fetched, find):
    first = find(download=DOWNLOAD)
    assert find(download=DOWNLOAD) == first
    assert first.path == folders / "cache" / "models" / f"net_coco-{'ab' * 6}.onnx"
    assert first.origin == "downloaded from https://somewhere/net.onnx"
    assert fetched == [f"download {first.path.name}"]
    find(download=Download(DOWNLOAD.url, "cd" * 32))  # another file by its hash
    assert len(fetched) == 2


def test_a_download_goes_before_an_export(fetched, find):
    find(download=DOWNLOAD, export=EXPORT)
    assert fetched == [f"download net_coco-{'ab' * 6}.onnx"]


def test_an_export_where_its_package_is_installed(folders, fetched, monkeypatch, find):
    found = find(export=EXPORT)
    assert fetched == ["export net_coco-ultralytics-net-640.onnx"]
    assert found.origin == "net.pt exported by ultralytics (AGPL-3.0, code and weights)"
    monkeypatch.setattr(Export, "is_possible", False)
    assert find(export=EXPORT) == found  # it was made when the package was there


def test_nothing_at_hand_is_one_line_with_every_way_out(folders, monkeypatch, find):
    monkeypatch.setattr(Export, "is_possible", False)
    with pytest.raises(ModelError) as caught:
        find(export=EXPORT)
    line = str(caught.value)
    assert str(folders / "models" / "net_coco.onnx") in line
    assert "model.path=FILE.onnx" in line
    assert "pip install -e '.[ultralytics]' (AGPL-3.0" in line
    assert "or use dataset=shapes, whose weights are carried" in line
    assert "\n" not in line


def test_a_model_without_carried_weights_names_one_that_has_them(folders):
    with pytest.raises(ModelError, match="or use model=yolov8n dataset=shapes, whose weights"):
        find_weights(request(folders, "net", "coco", None, {"coco": Source("net_coco.onnx")}))


def test_a_failed_download_says_where_to_put_the_file(folders, monkeypatch, find):
    told: list[str] = []
    monkeypatch.setattr(zoo, "fetch", lambda wanted, target, fix: told.append(fix))
    find(download=DOWNLOAD)
    assert told[0].startswith(f"Put the file at {folders}/models/net_coco.onnx, give model.path=")
    assert told[0].endswith("or use dataset=shapes, whose weights are carried")


def test_a_check_fetches_nothing(folders, fetched):
    sources = {"coco": Source("net_coco.onnx", DOWNLOAD)}
    check_weights(request(folders, "net", "coco", None, sources))
    assert not fetched
    with pytest.raises(ModelError, match="are not at"):
        check_weights(request(folders, "net", "coco", None, SOURCES))


def test_no_other_dataset_s_weights(find, folders):
    wanted = r"no weights for dataset voc .*coco, shapes.* model\.path=.*/net_voc\.onnx"
    with pytest.raises(ConfigError, match=wanted):
        find("voc")
    with pytest.raises(ConfigError, match="none"):
        find_weights(request(folders, "custom", "coco", None, {}))
