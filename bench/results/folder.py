"""A sweep's folder: the names of all paths under it, defined only here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError


@dataclass(frozen=True)
class SweepFolder:
    """The paths of a sweep's files under ``path``; they need not exist.

    Files of a run are named by its key, histograms by that of their statistics, pictures by their
    content.
    """

    path: Path

    @property
    def rows(self) -> Path:
        """The folder of finished runs, one JSON file each."""
        return self.path / "rows"

    def row(self, run_key: str) -> Path:
        return self.rows / f"{_plain(run_key)}.json"

    @property
    def packs(self) -> Path:
        """The folder of packed runs; see ``bench.results.packs``."""
        return self.path / "packed"

    def pack(self, name: str) -> Path:
        return self.packs / f"{name}.parquet"

    @property
    def tracking_lock(self) -> Path:
        """The lock of the process that logs the rows to a tracker."""
        return self.path / ".tracking.lock"

    @property
    def roundings(self) -> Path:
        """The folder with the effect of rounding alone, for some runs."""
        return self.path / "rounding"

    def rounding(self, run_key: str) -> Path:
        return self.roundings / f"{_plain(run_key)}.json"

    def judged(self, run_key: str) -> Path:
        """A run's judged predictions on the half-samples of the images."""
        return self.path / "judged" / f"{_plain(run_key)}.npz"

    def histograms(self, statistics_key: str) -> Path:
        """The histograms of a calibration set, which its runs share."""
        return self.path / "histograms" / f"{_plain(statistics_key)}.npz"

    def ranges(self, run_key: str) -> Path:
        """A run's dynamic ranges."""
        return self.path / "ranges" / f"{_plain(run_key)}.json"

    def rules(self, run_key: str) -> Path:
        """The rule that set each tensor's range, for a run whose calibrator chooses a rule."""
        return self.ranges(run_key).with_suffix(".rules.json")

    def calibration_cache(self, run_key: str) -> Path:
        """The calibration cache that TensorRT wrote for a run."""
        return self.ranges(run_key).with_suffix(".cache")

    def compared_ranges(self, run_key: str) -> Path:
        """The ranges of another tool's file beside those of our best run, tensor by tensor."""
        return self.path / "compared" / f"{_plain(run_key)}.csv"

    def layers(self, run_key: str) -> Path:
        """Which layers a run's engine ran in INT8."""
        return self.path / "layers" / f"{_plain(run_key)}.json"

    def diagnosis(self, name: str) -> Path:
        """What ``int8bench diagnose`` measured, by calibrator."""
        return self.path / "diagnosis" / f"{_plain(name)}.json"

    def diagnosis_html(self, name: str) -> Path:
        """The same as a page."""
        return self.diagnosis(name).with_suffix(".html")

    def plan_search(self, run_key: str) -> Path:
        """For a run with ``plan=auto``: the trials, and the chosen layers. While the search runs,
        the file is named by the search's key."""
        return self.path / "plans" / f"{_plain(run_key)}.json"

    def log(self, run_key: str) -> Path:
        """The log of a run, stage by stage; for a failed run also where it failed."""
        return self.path / "logs" / f"{_plain(run_key)}.log"

    def losses(self, run_key: str) -> Path:
        """Where a run loses: by class, by size, and on which pictures."""
        return self.path / "losses" / f"{_plain(run_key)}.json"

    def picture(self, name: str) -> Path:
        """A picture that the losses of some runs show."""
        return self.path / "pictures" / f"{_plain(name)}.jpg"

    @property
    def table_csv(self) -> Path:
        return self.path / "table.csv"

    @property
    def table_parquet(self) -> Path:
        return self.path / "table.parquet"

    @property
    def settings(self) -> Path:
        """The settings of the sweep's answer."""
        return self.path / "report.json"

    @property
    def claims(self) -> Path:
        """The verdicts on published claims."""
        return self.path / "claims.json"

    @property
    def references(self) -> Path:
        """Published cases beside the sweep's rows."""
        return self.path / "references.json"

    @property
    def report_html(self) -> Path:
        return self.path / "report.html"

    @property
    def report_markdown(self) -> Path:
        return self.path / "report.md"

    @property
    def report_stamp(self) -> Path:
        """Records what the report was made from."""
        return self.path / ".report-stamp"

    @property
    def figures(self) -> Path:
        """The folder of the report's figures."""
        return self.path / "figures"

    @property
    def jobs(self) -> Path:
        """Hydra's folder of the runs' configurations and logs, as ``conf/config.yaml`` names it."""
        return self.path / "jobs"

    def kit(self, kit_id: str) -> Path:
        """What a kit of this sweep was made of."""
        return self.path / "kits" / f"{_plain(kit_id)}.json"

    def bundle(self, run_key: str) -> Path:
        """The default folder of a run's bundle."""
        return self.path / f"bundle-{_plain(run_key)}"


def _plain(name: str) -> str:
    """Check a name that comes from a row, a table or a file of the folder; DataError for one that
    leads to another folder."""
    if not re.fullmatch(r"[\w -]*", str(name)):
        raise DataError(f"{name!r} cannot name a file of results", "Run the sweep again")
    return str(name)
