"""Our rules against NVIDIA ModelOpt 0.47.0 on identical histograms, tensor by tensor.

``scripts/parity_modelopt.py --golden`` stored what it answered for the embedded networks. Where it
is installed (``pip install -e '.[parity]'``) it is also asked anew, which takes about a minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.calibration.statistics import Snapshot, TensorStatistics
from scripts.parity_modelopt import (
    BINS,
    EMBEDDED,
    HALVES,
    RULES,
    TOLERANCE,
    ask_for_all,
    ask_modelopt,
    collect,
    difference,
    from_halves,
    from_planes,
    halves,
    in_planes,
    modelopt,
    workers,
)

GOLDEN = Path(__file__).parent / "golden/modelopt.npz"
TENSORS = {"resnet18": 29, "yolov8n": 65}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def histograms(golden: dict[str, Any]) -> dict[str, list[Snapshot]]:
    return {
        network: [
            from_halves(str(name), counts)
            for name, counts in zip(
                golden[f"{network}/tensors"],
                from_planes(golden[f"{network}/halves"]),
                strict=True,
            )
        ]
        for network in EMBEDDED
    }


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", EMBEDDED)
def test_our_rules_choose_as_modelopt_did(network, rule, golden, histograms) -> None:
    snapshots, theirs = histograms[network], golden[f"{network}/{rule}"]
    assert len(snapshots) == len(theirs) == TENSORS[network]
    off = {
        snapshot.name: difference(RULES[rule], snapshot, float(bins))
        for snapshot, bins in zip(snapshots, theirs, strict=True)
    }
    assert {name: bins for name, bins in off.items() if abs(bins) > TOLERANCE} == {}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", EMBEDDED)
def test_the_stored_thresholds_clip_something(network, rule, golden) -> None:
    theirs = golden[f"{network}/{rule}"]
    assert len(np.unique(theirs)) > TENSORS[network] / 3
    assert theirs.min() > 128
    assert np.median(theirs) < BINS - 10


def test_what_is_stored_gives_the_very_histograms_back() -> None:
    statistics = TensorStatistics("x")
    statistics.update(np.random.default_rng(0).standard_normal(200_000).astype(np.float32) * 3)
    seen = statistics.snapshot()
    counts = halves(seen)
    np.testing.assert_array_equal(from_planes(in_planes(counts[None]))[0], counts)
    stored = from_halves("x", counts)
    assert (stored.count, stored.amax, counts.size) == (seen.count, 1.0, HALVES)
    for rule in RULES.values():
        np.testing.assert_array_equal(rule.histogram(stored).counts, rule.histogram(seen).counts)


# --- where ModelOpt is installed ------------------------------------------------------------------


@pytest.fixture(scope="module")
def peer() -> Any:
    pytest.importorskip("modelopt", reason="ModelOpt is not here: pip install -e '.[parity]'")
    return modelopt()


@pytest.fixture(scope="module")
def resnet18() -> tuple[Snapshot, ...]:
    return collect(EMBEDDED["resnet18"], images=32)


def test_our_rules_choose_as_modelopt_does(peer, resnet18) -> None:
    with workers() as pool:
        answers = ask_for_all(resnet18, pool)
    assert len(resnet18) == TENSORS["resnet18"]
    off = {
        (name, snapshot.name): difference(RULES[name], snapshot, bins)
        for name, theirs in answers.items()
        for snapshot, bins in zip(resnet18, theirs, strict=True)
    }
    assert {what: bins for what, bins in off.items() if abs(bins) > TOLERANCE} == {}


def test_as_released_the_mse_search_ends_at_its_first_candidate(peer, resnet18) -> None:
    """The day this fails, ModelOpt is mended and ``ask_modelopt`` needs its mend no more."""
    for snapshot in resnet18[::10]:
        assert ask_modelopt(RULES["mse"], snapshot, mend=False) == 128
        assert ask_modelopt(RULES["mse"], snapshot) > 1000


def test_the_entropy_search_overwrites_the_histogram_it_is_given(peer, resnet18) -> None:
    """So ModelOpt's thresholds depend on the order of asking, and ``ask_modelopt`` hands a copy."""
    counts = resnet18[1].floor_magnitudes(256).counts.copy()
    assert counts[0] != counts[1]
    peer._compute_amax_entropy(counts, np.linspace(0, 1, 257), 8, False)
    assert counts[0] == counts[1]
