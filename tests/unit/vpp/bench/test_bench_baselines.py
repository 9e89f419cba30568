"""``vpp bench baselines`` on three meters made up here: the command, its table and its JSON, and what it refuses."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from models.errors import InputError
from models.settlement.methods.table import method_named
from vpp.bench.baseline_meters import US_HOLIDAYS_2012, MeterSite, enernoc_sites, ucam_sites
from vpp.bench.baselines import published_bars
from vpp.bench.inflation import inflation_rows, roc, site_attacks
from vpp.bench.placebo import SCORED, UNSCORED, others_of, placebo_cases, season_ranking, site_score, summary
from vpp.cli.bench import bench_app

BAR = {"sites": 2, "median_CVRMSE_pct": 9.0, "median_bias_pct": -1.0, "p90_CVRMSE_pct": 12.0, "pooled_bias_pct": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly loads that follow a slow heat, in the files of the measured data."""
    root = tmp_path_factory.mktemp("data")
    (root / "meters").mkdir()
    (root / "bench").mkdir()
    dice = np.random.default_rng(4)

    def load(hours: pd.DatetimeIndex, size: float) -> np.ndarray:
        heat = 1 + 0.2 * np.sin(np.arange(len(hours)) / 24 / 9)
        course = 1 + 0.4 * np.sin((np.asarray(hours.hour) - 8) / 24 * 2 * np.pi)
        return np.asarray(size * heat * course + dice.normal(0, size / 100, len(hours)))

    ends = pd.date_range("2012-04-30 00:05", "2012-10-02", freq="5min", name="utc_end")
    pd.DataFrame({f"s{k}": load(ends, 10.0 * k) for k in (1, 2, 3)}, index=ends).to_parquet(
        root / "meters" / "enernoc_5min_kw_2012.parquet"
    )
    zones = ["America/New_York", "America/Denver", "America/New_York"]
    pd.DataFrame({"SITE_ID": [1, 2, 3], "TIME_ZONE": zones}).to_csv(root / "meters" / "enernoc_sites.csv", index=False)
    starts = pd.date_range("2018-04-30", "2019-10-02", freq="1h", name="utc_start")
    table = {"b1": load(starts, 20.0), "temp_c": load(starts, 20.0), "rh_pct": load(starts, 50.0)}
    pd.DataFrame(table, index=starts).to_parquet(root / "meters" / "ucam_hourly_kwh_2017_2019.parquet")
    bars = {"cbl_enernoc_shared": {"CAISO 10in10 unadj": BAR}}
    (root / "bench" / "reference_bars.json").write_text(json.dumps(bars), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def site(folder: Path) -> MeterSite:
    return enernoc_sites(folder)[0]


def test_the_command_tells_and_writes_the_tables(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    asked = ["baselines", "--data", str(folder), "--method", "pjm_4_5_saa", "--method", "regression_tow_t"]
    told = CliRunner().invoke(bench_app, [*asked, "--out", str(out)], catch_exceptions=False)
    assert told.exit_code == 0
    assert "9.00 / -1.00 %" in told.stdout
    assert "no baseline on these meters" in told.stdout
    assert "inflation/ucam" in told.stdout
    cases = json.loads(out.read_text(encoding="utf-8"))["cases"]
    tables = dict.fromkeys(case["table"] for case in cases)
    assert list(tables) == ["bars", "enernoc", "inflation/enernoc", "ucam", "inflation/ucam"]
    by_weather = next(case for case in cases if case["table"] == "ucam" and case["method"] == "regression_tow_t")
    assert (by_weather["sites"], by_weather["coverage_pct"]) == (2, 100.0)
    printed = CliRunner().invoke(
        bench_app, [*asked, "--json", "--unscored", "--meters", "enernoc"], catch_exceptions=False
    )
    (first, *_) = json.loads(printed.stdout)["cases"]
    assert first["unscored"] is True
    assert first["table"] == "enernoc"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (["--data", "/nowhere"], "VPP_DATA_DIR"),
        (["--meters", "moon"], "must be among enernoc, ucam"),
        (["--method", "moon"], "must be a method of the table"),
    ],
)
def test_what_is_not_there_is_refused_by_name(asked: list[str], named: str, folder: Path) -> None:
    given = asked if "--data" in asked else [*asked, "--data", str(folder)]
    refused = CliRunner().invoke(bench_app, ["baselines", *given])
    assert isinstance(refused.exception, InputError)
    assert named in str(refused.exception)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="enernoc_5min"):
        enernoc_sites(tmp_path)
    with pytest.raises(InputError, match="cbl_enernoc_shared"):
        published_bars(tmp_path)


def test_meters_are_whole_weekdays_on_their_own_clock(folder: Path) -> None:
    eastern, mountain, _ = enernoc_sites(folder)
    for each in (eastern, mountain):
        assert all(day.weekday() < 5 and day not in US_HOLIDAYS_2012 for day in each.days.days)
        assert (each.days.days[0], each.days.days[-1]) == (date(2012, 5, 1), date(2012, 9, 28))
        assert np.isfinite(each.days.values).all()
    # The course is made in UTC: its low at 02:00 UTC is 22:00 in New York and 20:00 in Denver.
    assert int(eastern.days.values[0].mean(axis=0).argmin()) == 22
    assert int(mountain.days.values[0].mean(axis=0).argmin()) == 20
    summers = ucam_sites(folder)
    assert [(each.name, each.year) for each in summers] == [("b1-2018", 2018), ("b1-2019", 2019)]
    assert summers[0].temperature_celsius is not None


def test_events_are_the_hottest_days_and_their_hours_are_hidden(site: MeterSite) -> None:
    ranking = season_ranking(site)
    level = site.days.values[0][:, 14:18].mean(axis=1)
    assert (np.diff(level[ranking]) <= 0).all()
    cases = list(placebo_cases(site))
    assert {case.day for case, _ in cases} == {site.days.days[row] for row in ranking[:10]}
    for case, shown in cases:
        assert len(case.event_days) == 10
        assert np.isnan(case.day_kw[14:18]).all()
        assert np.isfinite(np.delete(case.day_kw, slice(14, 18))).all()
        np.testing.assert_array_equal(shown, site.days.values[0, site.days.days.index(case.day), 14:18])


def test_the_days_our_method_was_chosen_on_are_not_scored_and_saw_nothing_as_hot(site: MeterSite) -> None:
    scored = {case.day for case, _ in placebo_cases(site, SCORED)}
    level = dict(zip(site.days.days, site.days.values[0][:, 14:18].mean(axis=1), strict=True))
    chosen_on = list(placebo_cases(site, UNSCORED))
    assert len(chosen_on) == 20
    for case, _ in chosen_on:
        assert case.day not in scored
        season = [day for day in site.days.days if date(2012, 6, 15) <= day <= date(2012, 9, 15)]
        served = [day for day in season if day not in case.event_days]
        assert max(level[day] for day in served) <= level[case.day]


def test_a_control_group_is_everybody_else_without_their_events(folder: Path) -> None:
    sites = enernoc_sites(folder)
    others = others_of(sites, sites[0])
    assert others.values.shape[0] == 2
    gone = {sites[1].days.days[row] for row in season_ranking(sites[1])[:10]}
    for day, values in zip(others.days, others.values[0], strict=True):
        assert np.isnan(values).all() == (day in gone or day not in sites[1].days.days)


def test_a_score_is_of_the_events_that_have_a_baseline(site: MeterSite) -> None:
    score = site_score(site, method_named("ten_of_ten"))
    assert (score.events, score.covered) == (10, 10)
    none = site_score(site, method_named("firm_level"))
    assert (none.covered, np.isnan(none.cvrmse_pct)) == (0, True)
    half = summary([score, none])
    assert (half["sites"], half["coverage_pct"]) == (1, 50.0)
    assert half["median_CVRMSE_pct"] == score.cvrmse_pct
    assert summary([none])["median_bias_pct"] is None


def test_a_perfect_meter_is_met_perfectly(site: MeterSite) -> None:
    flat = replace(site, days=replace(site.days, values=np.full_like(site.days.values, 7.0)))
    score = site_score(flat, method_named("pjm_4_5_saa"))
    assert score.cvrmse_pct == pytest.approx(0.0)
    assert score.bias_pct == pytest.approx(0.0)


def test_a_roc_by_hand() -> None:
    honest = np.arange(100.0)
    found = roc(honest, np.array([98.5, 200.0, 49.0, -5.0]))
    # below them lie 99, 100, 49 and a half, and 0 of the hundred
    assert found["auc"] == pytest.approx((0.99 + 1.0 + 0.495 + 0) / 4)
    assert found["found_at_0.01"] == 0.5
    assert roc(honest, honest)["auc"] == pytest.approx(0.5)


def test_larger_attacks_are_found_more_often(site: MeterSite) -> None:
    rows = inflation_rows([site_attacks(site)])
    for attack in ("window", "like_days"):
        areas = [row["auc"] for row in rows if row["attack"] == attack]
        assert areas == sorted(areas)
        assert areas[-1] > 0.9
    assert {row["size"] for row in rows} == {0.05, 0.1, 0.2, 0.4}
