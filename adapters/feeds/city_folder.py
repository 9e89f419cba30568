"""The city alone: tables ``system``, ``tariffs`` and ``areas`` of a portfolio folder, whatever else lies beside them.

This is what a running service reads: its resources come over the wire, and its forecast process writes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.feeds.portfolio_series import grid_of, series_of, zone_series_of
from adapters.feeds.portfolio_tables import AREAS, SYSTEM, TARIFFS
from adapters.feeds.portfolio_writing import write_portfolio
from adapters.feeds.tables import TableRows, find_table, read_table, require_folder
from models.dispatch.problem import DispatchProblem
from models.errors import InputFault, PortfolioError
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid

CITY_TABLES = (SYSTEM, TARIFFS, AREAS)


@dataclass(frozen=True)
class CityTables:
    """Z zones on T intervals: ``zone_load_kw`` and ``zone_limit_kw`` (Z, T), +inf where unlimited; tariffs (T,)."""

    grid: IntervalGrid
    zones: tuple[str, ...]
    zone_load_kw: FloatArray
    zone_limit_kw: FloatArray
    tariffs: Mapping[str, FloatArray]
    areas: Mapping[str, frozenset[str]]


def read_city(folder: Path) -> CityTables:
    """The city of a folder; ``PortfolioError`` with every fault of its three tables."""
    require_folder(folder)
    faults: list[InputFault] = []
    tables: dict[str, TableRows] = {}
    for spec in CITY_TABLES:
        path = find_table(folder, spec.name, faults)
        tables[spec.name] = TableRows(spec.name) if path is None else read_table(path, spec)
        if path is None and spec is not AREAS:
            faults.append(InputFault(str(folder), spec.name, None, "table is required (vpp portfolio new shows one)"))
    if faults:
        raise PortfolioError(faults)
    grid = grid_of(tables[SYSTEM.name], None)
    if grid is not None:
        zones, load, limit = zone_series_of(tables[SYSTEM.name], grid)
        tariffs = series_of(tables[TARIFFS.name], grid, "tariff_id", "price_per_kwh", frozenset())
        areas = _areas(tables[AREAS.name], zones)
    faults = [fault for table in tables.values() for fault in table.faults]
    if faults or grid is None:
        raise PortfolioError(faults)
    return CityTables(grid, zones, load, limit, tariffs, areas)


def _areas(table: TableRows, zones: tuple[str, ...]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row, value in table.rows:
        if value.zone_id not in zones:
            table.fault(row, "zone_id", value.zone_id, "must be a zone of the system table")
        found.setdefault(value.area_id, set()).add(value.zone_id)
    return {area: frozenset(members) for area, members in found.items()}


def write_city(folder: Path, city: CityTables) -> None:
    """Write the three tables; ``PortfolioError`` if the folder holds anything but an older city."""
    names = {f"{spec.name}.{suffix}" for spec in CITY_TABLES for suffix in ("csv", "parquet")}
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - names):
        raise PortfolioError([InputFault(str(folder), "FOLDER", str(folder), "must be new, empty or an older city")])
    write_portfolio(
        folder,
        DispatchProblem(
            grid=city.grid,
            fleet=Fleet.from_rows([]),
            zones=city.zones,
            zone_load_kw=city.zone_load_kw,
            zone_limit_kw=city.zone_limit_kw,
            tariffs=city.tariffs,
            profiles={},
            areas=city.areas,
        ),
    )
