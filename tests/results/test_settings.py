"""What an answer is judged by: read, checked, kept beside the rows."""

from __future__ import annotations

import pytest

from bench.errors import ConfigError, DataError
from bench.results.settings import Settings, read_settings, read_share, write_settings


@pytest.mark.parametrize(
    ("text", "share"),
    [("1%", 0.01), ("0.5 %", 0.005), ("0.02", 0.02), (0.03, 0.03), (None, None), ("null", None)],
)
def test_a_share_may_be_written_in_per_cent(text, share):
    assert read_share("max_loss", text) == (None if share is None else pytest.approx(share))


def test_the_margin_is_half_a_point_or_a_hundredth_of_fp32():
    assert Settings().margin_of(0.3) == 0.005
    assert Settings().margin_of(0.8) == pytest.approx(0.008)
    assert Settings(margin=0.02).margin_of(0.8) == 0.02


def test_what_is_no_share_is_refused():
    with pytest.raises(ConfigError, match="max_loss=lots is not a share"):
        read_share("max_loss", "lots")
    for value in (0.0, 1.0, -0.1):
        with pytest.raises(ConfigError, match="out of range"):
            Settings(max_loss=value)


def test_settings_stay_with_the_folder(tmp_path):
    assert read_settings(tmp_path) == Settings()
    write_settings(tmp_path, Settings(0.004, 0.01))
    assert read_settings(tmp_path) == Settings(0.004, 0.01)
    (tmp_path / "report.json").write_text('{"margin": 0.2}')
    with pytest.raises(DataError, match=r"report\.json is damaged"):
        read_settings(tmp_path)
    (tmp_path / "checksums.json").unlink()
    (tmp_path / "report.json").write_text('{"margin": "wide"}')
    with pytest.raises(DataError, match="does not hold the settings of a sweep's answer"):
        read_settings(tmp_path)
