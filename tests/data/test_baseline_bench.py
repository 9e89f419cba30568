"""The table of baseline methods on real meters: the published bars, our own methods, raised load."""

from pathlib import Path

import numpy as np
import pytest

from models.settlement.methods.table import method_named
from vpp.bench.baseline_meters import MeterSite, enernoc_sites, ucam_sites
from vpp.bench.baselines import published_bars
from vpp.bench.inflation import inflation_rows, site_attacks
from vpp.bench.placebo import SCORED, UNSCORED, Ranks, bar_methods, site_score, summary

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def enernoc(data_dir: Path) -> list[MeterSite]:
    return enernoc_sites(data_dir)


@pytest.fixture(scope="module")
def ucam(data_dir: Path) -> list[MeterSite]:
    return ucam_sites(data_dir)


def error_and_bias(sites: list[MeterSite], method_id: str, ranks: Ranks = SCORED) -> tuple[float, float]:
    method = method_named(method_id)
    found = summary([site_score(site, method, ranks=ranks) for site in sites])
    assert found["coverage_pct"] == 100.0
    return float(found["median_CVRMSE_pct"] or np.nan), float(found["median_bias_pct"] or np.nan)


@pytest.mark.parametrize("name", sorted(bar_methods()))
def test_the_published_bars_come_out_to_the_digit(data_dir: Path, enernoc: list[MeterSite], name: str) -> None:
    found = summary([site_score(site, bar_methods()[name]) for site in enernoc])
    for field in ("sites", "median_CVRMSE_pct", "median_bias_pct", "p90_CVRMSE_pct"):
        assert found[field] == pytest.approx(published_bars(data_dir)[name][field], abs=0.006), field


def test_our_methods_beat_the_best_bar(data_dir: Path, enernoc: list[MeterSite]) -> None:
    """One errs less, with more bias than the bar; the other has both below it, which it has not on unscored days."""
    bar = published_bars(data_dir)["PJM High4of5 additive SDA"]
    cvrmse, bias = error_and_bias(enernoc, "learned_trend")
    assert cvrmse < bar["median_CVRMSE_pct"] - 0.2
    assert abs(bias) < abs(bar["median_bias_pct"])
    cvrmse, bias = error_and_bias(enernoc, "learned_morning")
    assert cvrmse < bar["median_CVRMSE_pct"] - 1.0
    assert abs(bias) < 1.2  # its bias is larger than the bar's: nobody shall think otherwise


def test_our_method_is_the_one_that_the_unscored_days_chose(enernoc: list[MeterSite]) -> None:
    cvrmse, bias = error_and_bias(enernoc, "learned_morning", UNSCORED)
    assert cvrmse == pytest.approx(5.85, abs=0.02)
    assert bias == pytest.approx(-0.01, abs=0.02)


def test_on_other_meters_our_methods_are_no_worse_than_the_bar_by_much(ucam: list[MeterSite]) -> None:
    assert len(ucam) == 40
    bar, bar_bias = error_and_bias(ucam, "pjm_4_5_saa")
    for method_id in ("learned_morning", "learned_trend"):
        cvrmse, bias = error_and_bias(ucam, method_id)
        assert cvrmse < bar + 0.4
        assert abs(bias) < abs(bar_bias)


def test_raised_load_is_found_on_quiet_days(enernoc: list[MeterSite]) -> None:
    rows = {(row["attack"], row["size"]): row for row in inflation_rows([site_attacks(site) for site in enernoc])}
    assert rows["window", 0.05]["quiet_days"] > 2000
    assert rows["window", 0.2]["auc"] > 0.95
    assert rows["window", 0.2]["found_at_0.05"] > 0.85
    assert rows["like_days", 0.2]["auc"] > 0.95
    assert rows["like_days", 0.2]["found_at_0.01"] > 0.7
    assert rows["window", 0.05]["auc"] < 0.85  # and a twentieth more is hardly seen
