"""A portfolio folder (dispatch-model §3) and the ``DispatchProblem`` it describes, both ways.

Reading collects all faults of a folder before it gives up: ``PortfolioError`` names file, row, column, value and
rule of each.  Writing and reading again gives the same problem, float by float.  Not in the folder: penalties (they
are configuration), the baseline table and the real-time terms (they belong to a plan).
"""

from pathlib import Path

from adapters.feeds.portfolio_rules import Tables, check_tables
from adapters.feeds.portfolio_series import grid_of, run_profiles_of, series_of, zone_series_of
from adapters.feeds.portfolio_tables import (
    ALL_TABLES,
    AREAS,
    COMMITMENTS,
    EVENTS,
    PROFILES,
    RESOURCES,
    STATE,
    SYSTEM,
    TARIFFS,
    portfolio_schemas,
)
from adapters.feeds.portfolio_writing import write_portfolio
from adapters.feeds.tables import TableRows, find_table, read_table, require_folder
from models.dispatch.problem import DispatchProblem, Penalties
from models.errors import InputError, InputFault, PortfolioError
from models.fleet import Fleet
from models.intervals import IntervalGrid

__all__ = ["portfolio_schemas", "read_portfolio", "write_portfolio"]


def read_portfolio(
    folder: Path, *, grid_hint: IntervalGrid | None = None, penalties: Penalties | None = None
) -> DispatchProblem:
    """The problem that a folder describes.

    The grid is that of the ``system`` table: its ``interval_end`` column if given, else equal spacing. ``grid_hint``,
    if given, is the grid the tables must have (and the only way to read a single interval without ``interval_end``).
    Raises ``PortfolioError`` with every fault of the folder.
    """
    require_folder(folder)
    faults: list[InputFault] = _unknown_files(folder)
    tables: dict[str, TableRows] = {}
    for spec in ALL_TABLES:
        path = find_table(folder, spec.name, faults)
        tables[spec.name] = TableRows(spec.name) if path is None else read_table(path, spec)
        if path is None and spec in (SYSTEM, TARIFFS):
            faults.append(InputFault(spec.name, "", None, "table is required"))
    if not any(tables[spec.name].rows or tables[spec.name].faults for spec in RESOURCES.values()):
        faults.append(InputFault(folder.name, "", None, "must hold at least one resource"))
    grid = grid_of(tables[SYSTEM.name], grid_hint)
    run_only = check_tables(tables, grid)
    if grid is not None:
        zones, load, limit = zone_series_of(tables[SYSTEM.name], grid)
        tariffs = series_of(tables[TARIFFS.name], grid, "tariff_id", "price_per_kwh", frozenset())
        profiles = series_of(tables[PROFILES.name], grid, "profile_id", "value", run_only)
        runs = run_profiles_of(tables[PROFILES.name], grid, _named_runs(tables))
    faults += [fault for table in tables.values() for fault in table.faults]
    if faults or grid is None:
        raise PortfolioError(faults)
    try:
        return DispatchProblem(
            grid=grid,
            fleet=Fleet.from_rows(row for spec in RESOURCES.values() for _, row in tables[spec.name].rows),
            zones=zones,
            zone_load_kw=load,
            zone_limit_kw=limit,
            tariffs=tariffs,
            profiles=profiles,
            run_profiles=runs,
            areas=_areas(tables),
            events=tuple(row for _, row in tables[EVENTS.name].rows),
            commitments=tuple(row for _, row in tables[COMMITMENTS.name].rows),
            states={row.resource_id: row.state() for _, row in tables[STATE.name].rows},
            penalties=penalties or Penalties(),
        )
    except InputError as error:
        raise PortfolioError(error.faults) from error


def _unknown_files(folder: Path) -> list[InputFault]:
    known = {spec.name for spec in ALL_TABLES}
    rule = f"unknown table; known are {', '.join(sorted(known))}"
    return [
        InputFault(path.name, "", path.name, rule)
        for path in sorted(folder.iterdir())
        if path.suffix in (".csv", ".parquet") and path.stem not in known
    ]


def _named_runs(tables: Tables) -> frozenset[str]:
    rows = tables["shiftable_loads"].rows
    return frozenset(row.run_profile for _, row in rows if row.run_profile is not None)


def _areas(tables: Tables) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for _, row in tables[AREAS.name].rows:
        found.setdefault(row.area_id, set()).add(row.zone_id)
    return {area: frozenset(zones) for area, zones in found.items()}
