"""Every kind of fault in a portfolio folder is named: file, row, column, value and rule, all of a folder at once."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.feeds.portfolio_folder import read_portfolio, write_portfolio
from models.errors import InputFault, PortfolioError
from vpp.example_portfolio import example_problem

Rows = list[dict[str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_portfolio(tmp_path, example_problem(24, 1), "csv")
    return tmp_path


def faults_of(folder: Path) -> tuple[InputFault, ...]:
    with pytest.raises(PortfolioError) as caught:
        read_portfolio(folder)
    return caught.value.faults


def edit(folder: Path, table: str, change: Callable[[Rows], Any]) -> None:
    path = folder / f"{table}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = change(rows) or rows
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def put(row: int, column: str, value: str) -> Callable[[Rows], Any]:
    """Overwrite one cell."""
    return lambda rows: rows[row - 1].update({column: value})


def doubled(row: int) -> Callable[[Rows], Any]:
    """The row once more at the end."""
    return lambda rows: [*rows, rows[row - 1]]


def without(row: int) -> Callable[[Rows], Any]:
    """The table without a row."""
    return lambda rows: rows[: row - 1] + rows[row:]


CELLS: list[tuple[str, int, str, str, str]] = [
    ("storage", 1, "charge_limit_kw", "nan", "finite number"),
    ("storage", 1, "charge_limit_kw", "12,5", "finite number"),
    ("storage", 2, "charge_limit_kw", "-1", "greater than or equal to 0"),
    ("storage", 2, "charge_efficiency", "1.2", "less than or equal to 1"),
    ("storage", 1, "energy_start_kwh", "1e9", "must lie between"),
    ("storage", 1, "charge_limit_kw", "", "is required"),
    ("storage", 1, "resource_id", "a b", "match pattern"),
    ("storage", 1, "zone_id", "nowhere", "must be a zone"),
    ("storage", 1, "tariff_id", "free", "must be a tariff"),
    ("storage", 1, "pillar", "both", "'source' or 'load'"),
    ("storage", 1, "is_test", "maybe", "true or false"),
    ("curtailable_loads", 1, "baseline_profile", "none", "must be a profile"),
    ("curtailable_loads", 1, "cost_per_kwh", "0.1", "at least the highest price"),
    ("curtailable_loads", 2, "calls_per_day", "1.5", "whole number"),
    ("ev_sessions", 1, "arrival", "2025-07-16 08:00", "RFC 3339"),
    ("ev_sessions", 1, "arrival", "2025-07-16T08:00:00", "RFC 3339"),
    ("ev_sessions", 1, "departure", "2020-01-01T00:00:00Z", "later than arrival"),
    ("shiftable_loads", 2, "run_profile", "waltz", "must be a profile"),
    ("shiftable_loads", 1, "energy_kwh", "1e9", "reachable inside the window"),
    ("system", 7, "load_forecast_kw", "inf", "finite number"),
    ("system", 7, "zone_id", "", "is required"),
    ("profiles", 3, "value", "-0.1", "greater than or equal to 0"),
    ("tariffs", 3, "interval_start", "2031-01-01T00:00:00+08:00", "interval of the system table"),
    ("areas", 1, "zone_id", "nowhere", "must be a zone"),
    ("events", 1, "start", "2025-07-16T05:07:00+00:00", "interval edge"),
    ("events", 3, "scope_id", "nowhere", "known zone"),
    ("events", 1, "direction", "up", "'shave' or 'fill'"),
    ("commitments", 1, "event_id", "party", "must be an event"),
    ("commitments", 1, "aggregator_id", "nobody", "must be an aggregator"),
    ("commitments", 1, "interval_start", "2025-07-16T00:00:00+00:00", "window of its event"),
    ("commitments", 1, "accepted_kw", "-5", "greater than or equal to 0"),
]


@pytest.mark.parametrize(("table", "row", "column", "value", "rule"), CELLS)
def test_a_bad_cell_is_named(folder: Path, table: str, row: int, column: str, value: str, rule: str) -> None:
    edit(folder, table, put(row, column, value))
    named = [fault for fault in faults_of(folder) if fault.place == f"{table}.csv" and fault.field == column]
    assert [fault.row for fault in named] == [row]
    assert rule in named[0].rule
    assert str(named[0].value if named[0].value is not None else "")[:10].lower() in (
        value[:10].lower(),
        "infinity",
    ) or (
        column in ("charge_limit_kw", "charge_efficiency", "cost_per_kwh", "value", "accepted_kw", "load_forecast_kw")
        or named[0].value is not None
    )


def test_a_resource_twice_and_a_meter_of_two_aggregators_are_named(folder: Path) -> None:
    edit(folder, "pv", doubled(1))
    edit(folder, "storage", put(1, "aggregator_id", "somebody-else"))
    edit(folder, "storage", put(1, "meter_id", "meter-00001"))
    faults = faults_of(folder)
    assert any(f.place == "pv.csv" and f.field == "resource_id" and "unique" in f.rule for f in faults)
    assert any(f.field == "meter_id" and f.value == "meter-00001" and "one aggregator" in f.rule for f in faults)


def test_stays_at_one_charger_may_not_overlap_nor_disagree(folder: Path) -> None:
    def change(rows: Rows) -> Rows:
        return [
            *rows,
            {**rows[0], "session_id": "again", "zone_id": "north" if rows[0]["zone_id"] != "north" else "south"},
        ]

    edit(folder, "ev_sessions", change)
    faults = faults_of(folder)
    assert {(f.field, f.place) for f in faults} == {("arrival", "ev_sessions.csv"), ("zone_id", "ev_sessions.csv")}


@pytest.mark.parametrize(
    ("table", "change", "column", "rule"),
    [
        ("system", without(100), "interval_start", "must have every interval"),
        ("tariffs", without(5), "interval_start", "must have every interval"),
        ("profiles", without(5), "interval_start", "must have every interval"),
        ("system", doubled(5), "interval_start", "must occur once"),
        ("events", doubled(1), "event_id", "must occur once"),
        ("commitments", doubled(1), "event_id", "must occur once"),
        ("areas", doubled(1), "area_id", "must occur once"),
    ],
)
def test_holes_and_doubles_are_named(
    folder: Path, table: str, change: Callable[[Rows], Any], column: str, rule: str
) -> None:
    edit(folder, table, change)
    assert any(f.place == f"{table}.csv" and f.field == column and rule in f.rule for f in faults_of(folder))


def test_unknown_columns_tables_and_two_formats_are_named(folder: Path) -> None:
    edit(folder, "pv", put(1, "colour", "blue"))
    (folder / "storages.csv").write_text("resource_id\nx\n")
    pq.write_table(pa.table({"area_id": ["a"], "zone_id": ["north"]}), folder / "areas.parquet")
    faults = faults_of(folder)
    assert {(f.place, f.field) for f in faults} >= {("pv.csv", "colour"), ("storages.csv", ""), ("areas", "")}


def test_a_missing_table_and_a_missing_column_are_named(folder: Path) -> None:
    (folder / "tariffs.csv").unlink()
    edit(folder, "pv", lambda rows: [{k: v for k, v in row.items() if k != "zone_id"} for row in rows])
    faults = faults_of(folder)
    assert any(f.place == "tariffs" and "required" in f.rule for f in faults)
    assert any(f.place == "pv.csv" and f.field == "zone_id" and "required" in f.rule for f in faults)


def test_a_ragged_line_and_a_file_that_is_no_table_are_named(folder: Path) -> None:
    with (folder / "areas.csv").open("a") as file:
        file.write("inner,north,surplus\n")
    (folder / "events.csv").write_bytes(b"\xff\xfe\x00")
    faults = faults_of(folder)
    assert any(f.place == "areas.csv" and f.row == 3 and "2 fields" in f.rule for f in faults)
    assert any(f.place == "events.csv" and "UTF-8" in f.rule for f in faults)


def test_parquet_times_must_be_microseconds_in_utc(tmp_path: Path) -> None:
    write_portfolio(tmp_path, example_problem(24, 1), "parquet")
    table = pq.read_table(tmp_path / "events.parquet")
    naive = table.column("start").cast(pa.timestamp("us"))
    pq.write_table(table.set_column(table.column_names.index("start"), "start", naive), tmp_path / "events.parquet")
    faults = faults_of(tmp_path)
    assert ("events.parquet", "start") in {(f.place, f.field) for f in faults}
    assert any("timestamp[us, UTC]" in f.rule for f in faults)


def test_all_faults_of_a_folder_come_at_once(folder: Path) -> None:
    edit(folder, "storage", put(1, "charge_limit_kw", "much"))
    edit(folder, "pv", put(1, "zone_id", "nowhere"))
    edit(folder, "events", put(1, "target_kw", "-1"))
    assert {fault.place for fault in faults_of(folder)} >= {"storage.csv", "pv.csv", "events.csv"}


def test_an_unreadable_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(PortfolioError, match="must be a folder"):
        read_portfolio(tmp_path / "nothing")
