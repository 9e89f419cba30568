"""A problem as bytes and again, to the last bit: what a replay needs beside the record of the solve.

Texts are JSON, times are microseconds, everything else is plain arrays (``models.dispatch.packed``).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import numpy as np

from models.canonical import canonical_json
from models.dispatch.packed import Array, pack, unpack
from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms, ResourceState
from models.dispatch.states import NUMBERS, StateColumns, StateTable
from models.events import Commitment, Event
from models.fleet import Fleet, ResourceTable, column_types
from models.intervals import FloatArray, IntervalGrid
from models.moments import microseconds, moment_of
from models.resources import ResourceKind

_MAGIC = b"vpp problem 1\n"
_OfEvent = TypeVar("_OfEvent", Event, Commitment)
_CURVES = ("tariffs", "profiles", "run_profiles")
_TERMS = ("now_kw", "plan_kw", "stray_applies")
_HISTORY = ("history_first", "history")


def problem_to_bytes(problem: DispatchProblem) -> bytes:
    """The whole problem as one piece."""
    facts: dict[str, Any] = {
        "zones": list(problem.zones),
        "areas": {name: sorted(zones) for name, zones in problem.areas.items()},
        "events": [event.model_dump(mode="json") for event in problem.events],
        "commitments": [row.model_dump(mode="json") for row in problem.commitments],
        "penalties": problem.penalties.as_dict(),
        "fleet": {kind.value: list(table.columns) for kind, table in problem.fleet.tables.items()},
        "kinds": [kind.value for kind in problem.fleet.tables],
    }
    arrays: dict[str, Array] = {
        "edges": np.array([microseconds(edge) for edge in problem.grid.edges], dtype="<i8"),
        "zone_load_kw": problem.zone_load_kw,
        "zone_limit_kw": problem.zone_limit_kw,
    }
    for family in _CURVES:
        curves = getattr(problem, family)
        facts[family] = list(curves)
        arrays |= {f"{family}.{place}": curve for place, curve in enumerate(curves.values())}
    for kind, table in problem.fleet.tables.items():
        arrays |= {f"fleet.{kind.value}.{name}": _plain(column) for name, column in table.columns.items()}
    if problem.states:
        names = list(problem.states)
        columns = StateColumns.of(problem.states, np.array(names, dtype=object))
        arrays["states"] = _letters(names)
        arrays |= {f"states.{name}": getattr(columns, name) for name in (*NUMBERS, *_HISTORY)}
    if problem.baseline_kw is not None:
        arrays["baseline_kw"] = problem.baseline_kw
    if problem.real_time is not None:
        arrays |= {f"real_time.{name}": np.asarray(getattr(problem.real_time, name)) for name in _TERMS}
    return pack(_MAGIC, facts, arrays)


def problem_from_bytes(data: bytes) -> DispatchProblem:
    """The problem again; ``ReplayError`` if a bit of it has changed."""
    facts, arrays = unpack(_MAGIC, data, "the problem of the solve")
    curves = {
        family: {name: arrays[f"{family}.{place}"] for place, name in enumerate(facts[family])} for family in _CURVES
    }
    tables = {kind: _table(kind, facts["fleet"][kind], arrays) for kind in map(ResourceKind, facts["kinds"])}
    return DispatchProblem(
        grid=IntervalGrid(tuple(map(moment_of, arrays["edges"].tolist()))),
        fleet=Fleet(tables),
        zones=tuple(facts["zones"]),
        zone_load_kw=arrays["zone_load_kw"],
        zone_limit_kw=arrays["zone_limit_kw"],
        areas={name: frozenset(zones) for name, zones in facts["areas"].items()},
        events=tuple(_of_event(Event, each) for each in facts["events"]),
        commitments=tuple(_of_event(Commitment, each) for each in facts["commitments"]),
        states=_states(arrays),
        penalties=Penalties(**facts["penalties"]),
        baseline_kw=arrays.get("baseline_kw"),
        real_time=_terms(arrays),
        **curves,
    )


def _of_event(kind: type[_OfEvent], said: dict[str, Any]) -> _OfEvent:
    """Stretches that the service makes of an event have names that nobody may order under."""
    return kind.model_validate({**said, "event_id": "e"}).model_copy(update={"event_id": said["event_id"]})


def _table(kind: ResourceKind, names: list[str], arrays: Mapping[str, Array]) -> ResourceTable:
    types = column_types(kind)
    return ResourceTable(kind, {name: _column(arrays[f"fleet.{kind.value}.{name}"], types[name]) for name in names})


def _states(arrays: Mapping[str, Array]) -> Mapping[str, ResourceState]:
    if "states" not in arrays:
        return {}
    columns = StateColumns(**{name: arrays[f"states.{name}"] for name in (*NUMBERS, *_HISTORY)})
    return StateTable(tuple(_words(arrays["states"])), columns)


def _terms(arrays: Mapping[str, Array]) -> RealTimeTerms | None:
    if f"real_time.{_TERMS[0]}" not in arrays:
        return None
    found: dict[str, FloatArray] = {name: arrays[f"real_time.{name}"] for name in _TERMS}
    return RealTimeTerms(**found)


def _plain(column: Array) -> Array:
    """A column without objects in it."""
    if column.dtype == object:
        return _letters(column.tolist())
    return column.astype("datetime64[us]").view("<i8") if column.dtype.kind == "M" else column


def _column(array: Array, plain: type) -> Array:
    """A column as its table has it."""
    if plain is str:
        return np.array(_words(array), dtype=object)
    return array.view("datetime64[us]") if plain is datetime else array


def _letters(texts: list[str]) -> Array:
    return np.frombuffer(canonical_json(texts).encode(), dtype="|u1")


def _words(letters: Array) -> list[str]:
    found: list[str] = json.loads(letters.tobytes())
    return found
