import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from models.errors import InputError
from tests.unit.vpp.result_days import day_result
from vpp.report.result_folder import TABLES, read_result, write_result

WIRE_FIELDS = {
    *(
        "scenario",
        "simulated",
        "resources",
        "scale",
        "aggregators",
        "events",
        "peak_before_kw",
        "peak_after_kw",
    ),
    *("already_helping_by_price_kw", "rebound_kw_by_hour", "plan", "registrations", "readings", "setpoints"),
    *("acknowledged", "wall_s"),
}
WIRE_EVENT_FIELDS = {
    *("event_id", "start", "end", "five_percent_kw", "callable_kw", "ordered_kw", "delivered_kw"),
    *("true_delivered_kw", "ratio_by_hour"),
}


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    result = day_result()
    write_result(tmp_path / "day", result)
    again = read_result(tmp_path / "day")
    assert again.summary == result.summary
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(result, name), check_dtype=False, check_freq=False)


def test_the_summary_has_every_field_of_the_contract(tmp_path: Path) -> None:
    write_result(tmp_path, day_result())
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert set(summary) >= WIRE_FIELDS
    assert set(summary["events"][0]) >= WIRE_EVENT_FIELDS
    assert set(summary["plan"]) >= {"status", "gap"}
    assert set(summary["registrations"]) == {"accepted", "refused"}


def test_wrong_columns_and_naive_times_are_named() -> None:
    result = day_result()
    with pytest.raises(InputError, match=r"city.parquet, limit_kw: column is missing"):
        replace(result, city=result.city.drop(columns="limit_kw"))
    with pytest.raises(InputError, match=r"journal.parquet, colour: no such column"):
        replace(result, journal=result.journal.assign(colour="red"))
    naive = result.devices.assign(interval_start=result.devices["interval_start"].dt.tz_localize(None))
    with pytest.raises(InputError, match="must be times with a zone"):
        replace(result, devices=naive)
    with pytest.raises(InputError, match="row 1, load_with_kw: must not be empty"):
        replace(result, city=result.city.assign(load_with_kw=float("nan")))


def test_a_broken_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a result folder has a summary\.json"):
        read_result(tmp_path)
    write_result(tmp_path, day_result())
    (tmp_path / "kinds.parquet").unlink()
    with pytest.raises(InputError, match=r"kinds\.parquet"):
        read_result(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    del summary["scale"]
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(InputError, match=r"summary\.json, scale"):
        read_result(tmp_path)
