"""Benchmark fleets as columns: a million devices in seconds, and what they draw when nobody dispatches them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator as Dice

from models.fleet import Column, Fleet, ResourceTable
from models.intervals import FloatArray
from models.resources import ResourceKind
from vpp.bench.city import PEAK_KW_PER_RESOURCE, City
from vpp.bench.columns import Columns, Draw, complete, stacked
from vpp.bench.segments import SECOND_STAY, SEGMENTS, Segment

_LEAST_FOR_UNITS = 50
"""Fleets smaller than this have no large units: three of them would be the fleet."""


def make_fleet(
    dice: Dice,
    city: City,
    resources: int,
    kinds: Iterable[ResourceKind] | None = None,
    *,
    units: bool = True,
    prefix: str = "",
) -> Fleet:
    """So many resources of the kinds asked for, shares as in ``SEGMENTS``; a charger with two stays counts once.

    ``units``: with the large units, if there are any of that kind.  ``prefix``: before every id.
    """
    wanted = frozenset(ResourceKind) if kinds is None else frozenset(kinds)
    segments = [segment for segment in SEGMENTS if segment.kind in wanted]
    parts: dict[ResourceKind, list[Columns]] = {}
    for segment, count in zip(segments, _counts(segments, resources, units), strict=True):
        if count:
            parts.setdefault(segment.kind, []).extend(_devices(dice, city, segment, count, resources, prefix))
    return Fleet({kind: stacked(kind, parts[kind]) for kind in ResourceKind if kind in parts})


def integer_share(fleet: Fleet) -> float:
    """Share of resources with an integer decision, by the rules of their kinds."""
    found = 0
    for kind, table in fleet.tables.items():
        columns = table.columns
        if kind in (ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.GENERATOR):
            found += len(table)
        elif kind is ResourceKind.CURTAILABLE_LOAD:
            found += int((~np.isnan(columns["calls_per_day"]) | (columns["rest_h"] > 0)).sum())
        elif kind is ResourceKind.SHIFTABLE_LOAD:
            found += int((columns["run_profile"] != "").sum())
        elif kind is ResourceKind.STORAGE:
            found += int(((columns["charge_min_kw"] > 0) | (columns["mode_change_cost"] > 0)).sum())
    return found / max(1, len(fleet.resource_ids))


def _counts(segments: list[Segment], resources: int, with_units: bool) -> list[int]:
    """How many of each: large units by number, the rest by share, remainders to the largest fractions."""
    units = [segment.units if with_units and resources >= _LEAST_FOR_UNITS else 0 for segment in segments]
    shares = np.array([segment.share for segment in segments])
    total = shares.sum()
    exact = shares / (total if total > 0 else 1.0) * (resources - sum(units))
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: resources - sum(units) - int(counts.sum())]] += 1
    return [int(count) + unit for count, unit in zip(counts, units, strict=True)]


def _devices(dice: Dice, city: City, segment: Segment, count: int, resources: int, prefix: str) -> Iterator[Columns]:
    """The columns of one make, and those of its second stays."""
    draw = Draw(dice, count, city.grid)
    names = np.array([f"{prefix}{segment.name}-{number:07d}" for number in range(1, count + 1)], dtype=object)
    chance = city.weight * (1 + segment.where * (2 * city.industrial - 1) * 0.6)
    common: Columns = {
        "resource_id": names,
        "meter_id": names,
        "aggregator_id": draw.choice(segment.aggregators),
        "zone_id": np.array(city.zones, dtype=object)[dice.choice(len(chance), size=count, p=chance / chance.sum())],
        "pillar": np.full(count, segment.pillar.value, dtype=object),
        "tariff_id": draw.choice(segment.tariffs),
        "reliability_fraction": draw.between(0.85, 1.0),
    }
    if segment.kind is ResourceKind.EV_SESSION:
        common["session_id"] = names
    city_kw = PEAK_KW_PER_RESOURCE * resources
    yield complete(segment.kind, common | segment.make(draw, city_kw), count)
    if segment.name in SECOND_STAY:
        again = {"session_id": np.array([f"{name}-2" for name in names], dtype=object)}
        yield complete(segment.kind, common | again | SECOND_STAY[segment.name](draw, city_kw), count)


# ---- what they draw


@dataclass(frozen=True)
class Undispatched:
    """Power of the portfolio by zone, (Z, T) kW, in two schedules that every device could follow.

    ``even``: cars charge evenly over their stay.  ``cheapest``: cars charge in the cheapest hours of their tariff, all
    at once.  In both, stores and generators rest, loads follow their profiles, and PV feeds in what the sun gives.
    """

    even_kw: FloatArray
    cheapest_kw: FloatArray


_ROWS = 20_000


def undispatched(city: City, fleet: Fleet) -> Undispatched:
    """Both schedules of a fleet, summed by zone."""
    rest = np.zeros((len(city.zones), len(city.grid)))
    even, cheapest = np.zeros_like(rest), np.zeros_like(rest)
    for kind, table in fleet.tables.items():
        if kind is ResourceKind.EV_SESSION:
            for part in _pieces(table):
                _add(even, city, part, _evenly(city, part, "arrival", "departure", _drawn_kwh(part)))
                _add(cheapest, city, part, _at_the_cheapest(city, part))
        elif kind is ResourceKind.SHIFTABLE_LOAD:
            for part in _pieces(table):
                _add(rest, city, part, _shiftable(city, part))
        elif kind is ResourceKind.PV:
            rest -= _profiled(city, table, "available_profile", "available_scale_kw")
        elif kind not in (ResourceKind.STORAGE, ResourceKind.GENERATOR):
            rest += _profiled(city, table, "baseline_profile", "baseline_scale_kw")
    return Undispatched(rest + even, rest + cheapest)


def zone_rows(city: City, columns: Mapping[str, Column]) -> Column:
    """Row of every resource's zone, (n,)."""
    row_of = {name: row for row, name in enumerate(city.zones)}
    return np.fromiter((row_of[name] for name in columns["zone_id"]), dtype=np.int64, count=len(columns["zone_id"]))


def hours_into(city: City, moments: Column) -> FloatArray:
    """Hours from the start of the horizon to some instants, (n,)."""
    start = np.datetime64(city.grid.start.replace(tzinfo=None), "us")
    return np.asarray((moments - start) / np.timedelta64(1, "h"))


def _pieces(table: ResourceTable) -> Iterator[Columns]:
    for first in range(0, len(table), _ROWS):
        yield {name: column[first : first + _ROWS] for name, column in table.columns.items()}


def _add(total: FloatArray, city: City, part: Columns, power_kw: FloatArray) -> None:
    rows = zone_rows(city, part)
    order = np.argsort(rows, kind="stable")
    found, first = np.unique(rows[order], return_index=True)
    total[found] += np.add.reduceat(power_kw[order], first, axis=0)


def _profiled(city: City, table: ResourceTable, profile: str, scale: str) -> FloatArray:
    names = list(city.profiles)
    column_of = {name: column for column, name in enumerate(names)}
    columns = table.columns
    chosen = np.fromiter((column_of[name] for name in columns[profile]), dtype=np.int64, count=len(table))
    sums = np.zeros((len(city.zones), len(names)))
    np.add.at(sums, (zone_rows(city, columns), chosen), columns[scale])
    return np.asarray(sums @ np.array([city.profiles[name] for name in names]))


def _drawn_kwh(part: Columns) -> FloatArray:
    return np.asarray(part["energy_needed_kwh"] / part["charge_efficiency"])


def _overlap(city: City, begin_h: FloatArray, end_h: FloatArray) -> FloatArray:
    """Hours of every interval inside [begin, end) of each row, (n, T)."""
    edges = city.grid.offsets_h
    shared = np.minimum(edges[None, 1:], end_h[:, None]) - np.maximum(edges[None, :-1], begin_h[:, None])
    return np.asarray(np.maximum(shared, 0.0))


def _evenly(city: City, part: Columns, begin: str, end: str, energy_kwh: FloatArray) -> FloatArray:
    begin_h, end_h = hours_into(city, part[begin]), hours_into(city, part[end])
    begin_h = np.minimum(np.maximum(begin_h, 0.0), end_h)
    power = np.divide(energy_kwh, end_h - begin_h, out=np.zeros(len(energy_kwh)), where=end_h > begin_h)
    return np.asarray(power[:, None] * _overlap(city, begin_h, end_h) / city.grid.hours)


def _shiftable(city: City, part: Columns) -> FloatArray:
    """Spread evenly over the window; a contiguous run in its preferred place."""
    runs = part["run_profile"] != ""
    shaped = {
        "begin": np.where(runs, part["preferred_start"], part["window_start"]),
        "end": part["window_end"].copy(),
    }
    for name, profile in city.run_profiles.items():
        mine = part["run_profile"] == name
        hours = part["energy_kwh"][mine] / (part["power_max_kw"][mine] * profile.mean())
        shaped["end"][mine] = shaped["begin"][mine] + (hours * 3.6e9).astype("timedelta64[us]")
    return _evenly(city, shaped, "begin", "end", part["energy_kwh"])


def _at_the_cheapest(city: City, part: Columns) -> FloatArray:
    """Each car in the cheapest intervals of its stay; what is left after the horizon is not seen here.  (n, T)."""
    begin_h, end_h = hours_into(city, part["arrival"]), hours_into(city, part["departure"])
    room = part["charge_limit_kw"][:, None] * _overlap(city, begin_h, end_h)
    late = part["charge_limit_kw"] * np.maximum(end_h - np.maximum(begin_h, city.grid.offsets_h[-1]), 0.0)
    found = np.zeros_like(room)
    hours = city.grid.hours
    for name, price in city.tariffs.items():
        mine = np.flatnonzero(part["tariff_id"] == name)
        order = np.argsort(price, kind="stable")
        cheap = order[price[order] <= price @ hours / hours.sum()]  # the hours after the horizon cost the mean
        dear = order[len(cheap) :]
        own = room[mine]
        wanted = _drawn_kwh(part)[mine, None]
        sorted_room = np.concatenate([own[:, cheap], late[mine, None], own[:, dear]], axis=1)
        before = np.cumsum(sorted_room, axis=1) - sorted_room
        filled = np.clip(wanted - before, 0.0, sorted_room)
        piece = np.zeros_like(own)
        piece[:, cheap], piece[:, dear] = filled[:, : len(cheap)], filled[:, len(cheap) + 1 :]
        found[mine] = piece
    return np.asarray(found / hours)
