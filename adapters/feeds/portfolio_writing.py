"""Writing a ``DispatchProblem`` as a portfolio folder, so that reading it again gives the same numbers to
the last bit.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

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
    StateRow,
)
from adapters.feeds.tables import Format, TableSpec, write_table
from models.dispatch.problem import DispatchProblem
from models.errors import InputFault, PortfolioError
from models.intervals import IntervalGrid

Columns = dict[str, list[Any]]


def write_portfolio(folder: Path, problem: DispatchProblem, fmt: Format = "csv") -> None:
    """Write the problem's tables into ``folder`` (made if need be; its older tables are replaced).

    ``PortfolioError`` if a run profile and a profile share a name but not their values: a folder has one
    table for both.
    """
    rule = "a run profile and a profile of the same name must agree"
    runs, profiles = problem.run_profiles, problem.profiles
    clashes = [name for name in sorted(runs.keys() & profiles.keys()) if not np.array_equal(runs[name], profiles[name])]
    if clashes:
        raise PortfolioError([InputFault("profiles", "profile_id", name, rule) for name in clashes])
    folder.mkdir(parents=True, exist_ok=True)
    for spec in ALL_TABLES:
        for suffix in (".csv", ".parquet"):
            (folder / f"{spec.name}{suffix}").unlink(missing_ok=True)
    for spec, columns in _tables(problem):
        kept = {
            name: (spec.columns[name], values)
            for name, values in columns.items()
            if name in spec.required or any(value is not None for value in values)
        }
        if next(iter(columns.values())):
            write_table(folder / f"{spec.name}.{fmt}", kept)


def _tables(problem: DispatchProblem) -> Iterator[tuple[TableSpec, Columns]]:
    grid = problem.grid
    for kind, table in problem.fleet.tables.items():
        spec = RESOURCES[kind]
        yield spec, {name: _values(table.columns[name], spec.columns[name]) for name in spec.columns}
    yield (
        SYSTEM,
        {
            "interval_start": [start for start in grid.starts for _ in problem.zones],
            "zone_id": list(problem.zones) * len(grid),
            "load_forecast_kw": problem.zone_load_kw.T.ravel().tolist(),
            "limit_kw": [None if np.isposinf(limit) else limit for limit in problem.zone_limit_kw.T.ravel().tolist()],
            "interval_end": _ends(grid, len(problem.zones)),
        },
    )
    yield TARIFFS, _series("tariff_id", "price_per_kwh", problem.tariffs.items(), grid)
    shorter = [(name, values) for name, values in problem.run_profiles.items() if name not in problem.profiles]
    yield PROFILES, _series("profile_id", "value", [*problem.profiles.items(), *shorter], grid)
    pairs = [(area, zone) for area, zones in problem.areas.items() for zone in sorted(zones)]
    yield AREAS, {"area_id": [area for area, _ in pairs], "zone_id": [zone for _, zone in pairs]}
    yield (
        EVENTS,
        {name: [_plain(getattr(event, name)) for event in problem.events] for name in EVENTS.columns},
    )
    yield (
        COMMITMENTS,
        {name: [getattr(row, name) for row in problem.commitments] for name in COMMITMENTS.columns},
    )
    states = [{"resource_id": name, **StateRow.columns_of(state)} for name, state in problem.states.items()]
    yield STATE, {name: [state[name] for state in states] for name in STATE.columns}


def _values(column: Any, plain: str) -> list[Any]:
    """A fleet column as plain values, None where not given."""
    if plain == "time":
        return [None if np.isnat(value) else value.item().replace(tzinfo=UTC) for value in column]
    if plain == "boolean":
        return [bool(value) for value in column]
    if plain == "integer":
        return [None if np.isnan(value) else int(value) for value in column]
    if plain == "number":
        return [None if np.isnan(value) else float(value) for value in column]
    return [value or None for value in column]


def _plain(value: Any) -> Any:
    """Enumerations as their text, an empty text as not given."""
    return None if value == "" else getattr(value, "value", value)


def _series(name_column: str, value_column: str, series: Iterable[tuple[str, Any]], grid: IntervalGrid) -> Columns:
    names: list[str] = []
    starts: list[datetime] = []
    numbers: list[float] = []
    ends: list[datetime | None] = []
    for name, values in series:
        count = len(values)
        names += [name] * count
        starts += grid.starts[:count]
        numbers += np.asarray(values, dtype=np.float64).tolist()
        ends += _ends(grid, 1)[:count]
    return {name_column: names, "interval_start": starts, value_column: numbers, "interval_end": ends}


def _ends(grid: IntervalGrid, each: int) -> list[datetime | None]:
    """Interval ends, each so many times; nothing where the starts alone tell them (equal spacing)."""
    steps = {end - start for start, end in zip(grid.starts, grid.ends, strict=True)}
    told = len(grid) > 1 and len(steps) == 1
    return [None if told else end for end in grid.ends for _ in range(each)]
