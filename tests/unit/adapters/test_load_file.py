from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.feeds.forecast_file import read_forecast
from adapters.feeds.load_file import LoadSeries, read_load
from models.errors import InputError
from models.intervals import IntervalGrid

NEW_YORK = ZoneInfo("America/New_York")


def quarter_hours(first: str, days: int = 2) -> pd.DataFrame:
    """A city of about 20 GW in quarter hours, naive labels."""
    labels = pd.date_range(first, periods=96 * days, freq="15min")
    load_mw = 20_000 + 3_000 * np.sin(2 * np.pi * (labels.hour + labels.minute / 60 - 9) / 24)
    return pd.DataFrame({"time": labels, "load_mw": np.round(load_mw, 1)})


def written(folder: Path, frame: pd.DataFrame, name: str = "load.csv") -> Path:
    path = folder / name
    frame.to_csv(path, index=False)
    return path


def repairs(series: LoadSeries) -> dict[str, int]:
    return {repair.name: repair.count for repair in series.repairs}


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_load(path, **{"time_zone": "Asia/Shanghai", **options})
    return str(caught.value)


def test_a_clean_file_needs_no_options_and_no_repairs(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    series = read_load(written(tmp_path, frame), time_zone="Asia/Shanghai")
    assert series.start == datetime(2025, 7, 15, 16, tzinfo=UTC)
    assert series.resolution == timedelta(minutes=15)
    assert series.repairs == ()
    np.testing.assert_allclose(series.kw, frame["load_mw"] * 1000)
    assert series.starts[1] - series.starts[0] == series.resolution
    assert series.end == series.starts[-1] + series.resolution


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    frame.to_parquet(tmp_path / "load.parquet")
    as_index = tmp_path / "index.parquet"
    frame.set_index("time").to_parquet(as_index)
    from_csv = read_load(written(tmp_path, frame), time_zone="Asia/Shanghai")
    for path in (tmp_path / "load.parquet", as_index):
        series = read_load(path, time_zone="Asia/Shanghai")
        assert series.start == from_csv.start
        np.testing.assert_array_equal(series.kw, from_csv.kw)


@pytest.mark.parametrize(("unit", "factor"), [("W", 1e6), ("kW", 1e3), ("GW", 1e-3)])
def test_every_unit_gives_the_same_kilowatts(tmp_path: Path, unit: Any, factor: float) -> None:
    frame = quarter_hours("2025-07-16")
    in_mw = read_load(written(tmp_path, frame), time_zone="Asia/Shanghai")
    other = frame.assign(load_mw=frame["load_mw"] * factor)
    series = read_load(written(tmp_path, other, "other.csv"), time_zone="Asia/Shanghai", unit=unit)
    np.testing.assert_allclose(series.kw, in_mw.kw)


@pytest.mark.parametrize(("unit", "hint"), [("W", "larger one"), ("GW", "smaller one")])
def test_a_wrong_unit_is_refused_with_a_hint(tmp_path: Path, unit: str, hint: str) -> None:
    frame = quarter_hours("2025-07-16")
    scaled = frame.assign(load_mw=frame["load_mw"] / 10 if unit == "W" else frame["load_mw"] * 100)
    message = refusal(written(tmp_path, scaled), unit=unit)
    assert "load.csv, load_mw" in message
    assert hint in message


def test_a_jump_by_a_thousand_is_refused_and_its_row_named(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    frame.loc[30:60, "load_mw"] *= 1000
    message = refusal(written(tmp_path, frame))
    assert "row 31" in message
    assert "unit mistake" in message


@pytest.mark.parametrize(("month_day", "hours"), [("03-09", 23), ("11-02", 25)])
def test_days_on_which_the_clock_changes_are_read_in_order_of_appearance(
    tmp_path: Path, month_day: str, hours: int
) -> None:
    day = date.fromisoformat(f"2025-{month_day}")
    grid = IntervalGrid.market_day(day, NEW_YORK, timedelta(minutes=15))
    local = [start.astimezone(NEW_YORK).replace(tzinfo=None) for start in grid.starts]
    load_mw = 10_000 + np.arange(len(grid), dtype=float)
    frame = pd.DataFrame({"time": local, "mw": load_mw})
    series = read_load(written(tmp_path, frame), time_zone="America/New_York")
    assert len(series) == 4 * hours
    assert series.start == grid.start
    np.testing.assert_allclose(series.kw_on(grid), load_mw * 1000)


@pytest.mark.parametrize("custom", ["clock", "instant"])
def test_both_customs_of_labelling_interval_ends_are_understood_in_autumn(tmp_path: Path, custom: str) -> None:
    grid = IntervalGrid.market_day(date(2025, 11, 2), NEW_YORK, timedelta(hours=1))
    if custom == "clock":
        labels = [start.astimezone(NEW_YORK).replace(tzinfo=None) + timedelta(hours=1) for start in grid.starts]
    else:
        labels = [end.astimezone(NEW_YORK).replace(tzinfo=None) for end in grid.ends]
    frame = pd.DataFrame({"hour_end": labels, "mw": 10_000 + np.arange(25.0)})
    series = read_load(written(tmp_path, frame), time_zone="America/New_York")
    assert series.start == grid.start
    np.testing.assert_allclose(series.kw, frame["mw"] * 1000)


def test_a_clock_time_that_never_was_is_refused_unless_the_file_fills_the_hour(tmp_path: Path) -> None:
    hourly = pd.DataFrame({"time": pd.date_range("2025-03-08", periods=72, freq="h"), "mw": 10_000.0 + np.arange(72)})
    filled = read_load(written(tmp_path, hourly), time_zone="America/New_York")
    assert repairs(filled) == {"clock_skips": 1}
    assert len(filled) == 71
    odd = pd.concat([hourly[:20], hourly[26:27], hourly[28:]])
    with pytest.raises(InputError, match=r"row 21.*does not exist in America/New_York"):
        read_load(written(tmp_path, odd), time_zone="America/New_York")


def test_naive_times_in_a_column_called_utc_are_utc(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16").rename(columns={"time": "utc_start"})
    series = read_load(written(tmp_path, frame), time_zone="America/New_York")
    assert series.start == datetime(2025, 7, 16, tzinfo=UTC)


def test_times_with_offset_need_no_zone(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    frame["time"] = frame["time"].dt.tz_localize("Asia/Shanghai").map(lambda moment: moment.isoformat())
    series = read_load(written(tmp_path, frame), time_zone="America/New_York")
    assert series.start == datetime(2025, 7, 15, 16, tzinfo=UTC)
    frame.loc[5, "time"] = "2025-07-16 01:15:00"
    assert "row 6" in refusal(written(tmp_path, frame))


def test_short_holes_are_filled_by_a_line_and_named(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    whole = read_load(written(tmp_path, frame), time_zone="Asia/Shanghai")
    frame.loc[20:22, "load_mw"] = np.nan
    holed = frame.drop(index=[50, 51, 52, 53])
    series = read_load(written(tmp_path, holed), time_zone="Asia/Shanghai")
    assert repairs(series) == {"gap_filled": 7}
    assert np.isfinite(series.kw).all()
    straight = np.interp(np.arange(20, 23), [19, 23], whole.kw[[19, 23]])
    np.testing.assert_allclose(series.kw[20:23], straight)


def test_long_holes_stay_and_the_day_that_needs_them_is_refused_naming_from_and_to(tmp_path: Path) -> None:
    holed = quarter_hours("2025-07-16", 3).drop(index=range(110, 115))
    series = read_load(written(tmp_path, holed), time_zone="Asia/Shanghai")
    assert repairs(series) == {"gap_left": 5}
    zone = ZoneInfo("Asia/Shanghai")
    good = IntervalGrid.market_day(date(2025, 7, 16), zone, timedelta(minutes=15))
    assert len(series.kw_on(good)) == 96
    with pytest.raises(InputError, match=r"from 2025-07-16T19:30:00.* to 2025-07-16T20:45:00.*1.25 h"):
        series.kw_on(IntervalGrid.market_day(date(2025, 7, 17), zone, timedelta(minutes=15)))
    with pytest.raises(InputError, match="24 h missing"):
        series.kw_on(IntervalGrid.market_day(date(2025, 7, 30), zone, timedelta(minutes=15)))


def test_zero_negative_suspect_and_spiky_values_become_named_holes(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16").assign(suspect=False)
    frame.loc[10, "load_mw"], frame.loc[40, "load_mw"], frame.loc[70, "load_mw"] = 0.0, -5.0, 150_000.0
    frame.loc[90, "suspect"] = True
    series = read_load(written(tmp_path, frame), time_zone="Asia/Shanghai")
    assert repairs(series) == {"suspect": 1, "dropout": 2, "spike": 1, "gap_filled": 4}
    assert series.kw.min() > 15e6
    assert series.kw.max() < 25e6


def test_equal_rows_are_dropped_and_named_but_a_contradiction_is_an_error(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    doubled = pd.concat([frame[:50], frame[45:]])
    series = read_load(written(tmp_path, doubled), time_zone="Asia/Shanghai")
    assert repairs(series)["duplicate"] == 5
    assert len(series) == len(frame)
    doubled["load_mw"] += np.where(np.arange(len(doubled)) == 52, 100, 0)
    message = refusal(written(tmp_path, doubled))
    assert "row 53" in message
    assert "stands twice with different values" in message


def test_rows_out_of_order_are_sorted_and_named(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    shuffled = pd.concat([frame[96:], frame[:96]])
    series = read_load(written(tmp_path, shuffled), time_zone="Asia/Shanghai")
    assert "unsorted" in repairs(series)
    np.testing.assert_allclose(series.kw, frame["load_mw"] * 1000)
    backwards = read_load(written(tmp_path, frame[::-1], "back.csv"), time_zone="Asia/Shanghai")
    assert "newest_first" in repairs(backwards)
    np.testing.assert_allclose(backwards.kw, frame["load_mw"] * 1000)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("load_mw", "12,345.6", "must be a finite number"),
        ("load_mw", "inf", "must be a finite number"),
        ("time", "16/07/2025 00:45", "must be a time of the form ISO 8601"),
        ("time", "2025-07-16T00:47:00", "must lie whole steps"),
    ],
)
def test_a_bad_cell_is_named_with_file_row_column_and_rule(tmp_path: Path, column: str, value: str, words: str) -> None:
    frame = quarter_hours("2025-07-16").astype({"load_mw": object, "time": str})
    frame.loc[3, column] = value
    message = refusal(written(tmp_path, frame))
    assert f"load.csv, row 4, {column}: {words}" in message


def test_columns_that_cannot_be_guessed_are_asked_for(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16").assign(area_load_mw=1.0)
    message = refusal(written(tmp_path, frame))
    assert "load_column" in message
    assert "load_mw, area_load_mw" in message
    assert read_load(tmp_path / "load.csv", time_zone="Asia/Shanghai", load_column="load_mw").kw.max() > 20e6
    assert "no such column; there are" in refusal(tmp_path / "load.csv", load_column="nonsense")


def test_missing_files_unknown_zones_and_empty_tables_are_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.csv")
    path = written(tmp_path, quarter_hours("2025-07-16"))
    assert "IANA zone" in refusal(path, time_zone="Mars/Olympus")
    assert "no rows" in refusal(written(tmp_path, quarter_hours("2025-07-16")[:0], "empty.csv"))
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    assert "must be a readable" in refusal(tmp_path / "bad.parquet")
    assert "0:15:00 apart, not 0:05:00" in refusal(path, resolution=timedelta(minutes=5))


def test_other_time_formats_are_read_by_option(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16")
    frame["time"] = frame["time"].dt.strftime("%m/%d/%Y %H:%M:%S")
    series = read_load(written(tmp_path, frame), time_zone="Asia/Shanghai", time_format="%m/%d/%Y %H:%M:%S")
    assert series.start == datetime(2025, 7, 15, 16, tzinfo=UTC)


def test_a_chinese_spreadsheet_in_gb18030_with_semicolons_is_read(tmp_path: Path) -> None:
    frame = quarter_hours("2025-07-16").rename(columns={"time": "时间", "load_mw": "负荷"})
    (tmp_path / "负荷.csv").write_bytes(frame.to_csv(index=False, sep=";").encode("gb18030"))
    series = read_load(tmp_path / "负荷.csv", time_zone="Asia/Shanghai", time_column="时间", load_column="负荷")
    assert len(series) == 192


def test_a_long_table_is_narrowed_by_option(tmp_path: Path) -> None:
    one = quarter_hours("2025-07-16").assign(area="A")
    two = one.assign(area="B", load_mw=one["load_mw"] * 2)
    path = written(tmp_path, pd.concat([one, two]))
    assert "stands twice" in refusal(path)
    series = read_load(path, time_zone="Asia/Shanghai", only={"area": "B"})
    np.testing.assert_allclose(series.kw, two["load_mw"] * 1000)


def test_means_on_another_grid_conserve_energy(tmp_path: Path) -> None:
    series = read_load(written(tmp_path, quarter_hours("2025-07-16", 3)), time_zone="Asia/Shanghai")
    start = series.start + timedelta(hours=7, minutes=5)
    for step in (timedelta(minutes=5), timedelta(minutes=30), timedelta(minutes=20)):
        grid = IntervalGrid.regular(start, step, int(timedelta(hours=24) / step))
        fine = IntervalGrid.regular(start, timedelta(minutes=5), 288)
        by_hand = [series.kw[(moment - series.start) // series.resolution] for moment in fine.starts]
        assert float(series.kw_on(grid) @ grid.hours) == pytest.approx(float(np.sum(by_hand)) / 12)


def test_what_lies_after_a_moment_can_be_cut_off(tmp_path: Path) -> None:
    series = read_load(written(tmp_path, quarter_hours("2025-07-16")), time_zone="Asia/Shanghai")
    known = series.before(series.start + timedelta(minutes=50))
    assert len(known) == 3
    assert known.end <= series.start + timedelta(minutes=50)


@settings(max_examples=25, deadline=None)
@given(
    holes=st.lists(st.integers(1, 190), max_size=40),
    spikes_at=st.lists(st.integers(1, 190), max_size=4),
    cut=st.integers(20, 190),
)
def test_what_is_known_at_a_moment_does_not_depend_on_what_came_after(
    tmp_path_factory: pytest.TempPathFactory, holes: list[int], spikes_at: list[int], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    frame = quarter_hours("2025-07-16")
    frame.loc[spikes_at, "load_mw"] *= 6
    frame.loc[holes, "load_mw"] = np.nan
    whole = read_load(written(folder, frame), time_zone="Asia/Shanghai")
    early = read_load(written(folder, frame[:cut], "early.csv"), time_zone="Asia/Shanghai")
    np.testing.assert_array_equal(whole.before(whole.start + cut * whole.resolution).kw, early.kw)


def forecast_file(folder: Path) -> Path:
    """Three issues of hourly forecasts for the same days, one of them issued after the decision."""
    parts = []
    for issued, level in (
        ("2025-07-14 07:05", 100.0),
        ("2025-07-15 07:05", 200.0),
        ("2025-07-16 07:05", 300.0),
    ):
        labels = pd.date_range("2025-07-16", periods=48, freq="h")
        parts.append(pd.DataFrame({"issued_local": issued, "ts_local": labels, "mw": 20_000 + level}))
    return written(folder, pd.concat(parts), "forecast.csv")


def test_a_forecast_is_the_newest_issue_not_after_the_decision(tmp_path: Path) -> None:
    path = forecast_file(tmp_path)
    decision = datetime(2025, 7, 15, 10, tzinfo=ZoneInfo("Asia/Shanghai"))
    series = read_forecast(path, time_zone="Asia/Shanghai", decision_time=decision, load_column="mw")
    np.testing.assert_allclose(series.kw, 20_200e3)
    assert series.issued_at == datetime(2025, 7, 14, 23, 5, tzinfo=UTC)
    before_all = decision - timedelta(days=3)
    with pytest.raises(InputError, match="must hold an issue not later than the decision"):
        read_forecast(path, time_zone="Asia/Shanghai", decision_time=before_all, load_column="mw")


def test_a_forecast_does_not_change_when_later_issues_are_taken_away(tmp_path: Path) -> None:
    path = forecast_file(tmp_path)
    decision = datetime(2025, 7, 15, 10, tzinfo=ZoneInfo("Asia/Shanghai"))
    before = read_forecast(path, time_zone="Asia/Shanghai", decision_time=decision)
    frame = pd.read_csv(path)
    written(tmp_path, frame[frame["issued_local"] < "2025-07-16"], "forecast.csv")
    after = read_forecast(path, time_zone="Asia/Shanghai", decision_time=decision)
    np.testing.assert_array_equal(before.kw, after.kw)
    assert before.issued_at == after.issued_at


def test_a_forecast_without_issue_times_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, quarter_hours("2025-07-16"))
    decision = datetime(2025, 7, 15, tzinfo=UTC)
    series = read_forecast(path, time_zone="Asia/Shanghai", decision_time=decision)
    assert repairs(series) == {"no_issue_time": 192}
    assert series.issued_at is None
