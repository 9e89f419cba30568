"""Shards: a fleet cut into ranges of like rows that stay where their data is.

Rows of one pricer and one zone (a cell) lie side by side, in strata of like size; inside a stratum their order is
random, so that the first few of it are a fair sample of all, and a shard is two numbers.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.dispatch.fast.coupling import Classes
from models.dispatch.fast.pricing.common import NOTHING_NEAR, Members, Near
from models.dispatch.fast.pricing.registry import PRICERS, Pricer
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.problem import DispatchProblem
from models.fleet import Column
from models.intervals import FloatArray
from models.resources import ResourceKind

STRATA = 24
"""Strata of a zone, about: as many as columns of it in the master, for every sweep."""
_SEED = 7


@dataclass(frozen=True)
class Block:
    """All rows of one pricer, sorted by zone and stratum.

    ``units``: its struct of arrays.  ``zone``: (n,) rising.  ``cells``: (first, last) of every zone that occurs.
    ``strata``: (first, last) of every stratum, in order.  ``sessions``: (n,) names of stays at chargers, else None.
    """

    pricer: Pricer
    units: Any
    members: Members
    near: Near
    zone: IndexArray
    cells: tuple[tuple[int, int], ...]
    strata: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.zone)


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows first to last of a block, all in one zone; each counts ``weight`` times (a sample stands for more)."""

    block: int
    first: int
    last: int
    zone: int
    weight: float = 1.0

    def __len__(self) -> int:
        return self.last - self.first


def blocks_of(
    problem: DispatchProblem,
    tables: Mapping[ResourceKind, Mapping[str, Column]],
    classes: Classes,
    setting: Setting,
) -> list[Block]:
    """The fleet as blocks; ``tables`` as admitted."""
    row_of = {name: row for row, name in enumerate(problem.fleet.resource_ids)}
    chosen = [
        (pricer, table, np.flatnonzero(mask))
        for pricer in PRICERS
        if (table := tables.get(pricer.kind)) is not None and (mask := pricer.selects(table)).any()
    ]
    zone_kw = np.zeros(len(classes.zones))
    for pricer, table, rows in chosen:
        np.add.at(zone_kw, classes.attributes(table)[0][rows], pricer.size_kw(table)[rows])
    return [_block(pricer, table, rows, problem, classes, setting, row_of, zone_kw) for pricer, table, rows in chosen]


def _block(
    pricer: Pricer,
    table: Mapping[str, Column],
    chosen: IndexArray,
    problem: DispatchProblem,
    classes: Classes,
    setting: Setting,
    row_of: Mapping[str, int],
    zone_kw: FloatArray,
) -> Block:
    zone, aggregator, pillar = classes.attributes(table)
    order, cells, strata = _strata(zone[chosen], pricer.size_kw(table)[chosen], zone_kw)
    chosen = chosen[order]
    columns = {name: values[chosen] for name, values in table.items()}
    zone, aggregator, pillar = zone[chosen], aggregator[chosen], pillar[chosen]
    resource = np.array([row_of[name] for name in columns["resource_id"]], dtype=np.int64)
    members = Members(
        tariff=rows_in(setting.tariff_row, columns["tariff_id"]),
        price_class=classes.class_of[zone, aggregator, pillar],
        reliability=np.ascontiguousarray(columns["reliability_fraction"], dtype=np.float64),
        resource=resource,
        alone=_alone(pricer, table, columns, setting),
    )
    units = pricer.arrays(columns, setting, setting.state_of(columns["resource_id"]))
    return Block(pricer, units, members, _near(problem, resource), zone, cells, strata)


_Ranges = tuple[tuple[int, int], ...]


def _strata(zone: IndexArray, size_kw: FloatArray, zone_kw: FloatArray) -> tuple[IndexArray, _Ranges, _Ranges]:
    """An order of rows (n,) by zone and stratum, random inside, with the ranges of the cells and of the strata.

    A cell has as many strata as it has of the zone's kW.  They part it evenly in rows and kW: large rows, on which a
    sample depends most, share theirs with few others.
    """
    dice = np.random.default_rng(_SEED)
    order = np.lexsort((dice.random(len(zone)), -size_kw, zone))
    stratum = np.zeros(len(zone), dtype=np.int64)
    edges = np.flatnonzero(np.diff(zone[order])) + 1
    cells = tuple(zip([0, *edges.tolist()], [*edges.tolist(), len(zone)], strict=True))
    used = 0
    for first, last in cells:
        rows = order[first:last]
        passed = np.cumsum(size_kw[rows])
        share = passed[-1] / max(zone_kw[zone[rows[0]]], 1e-9)
        count = max(1, min(len(rows), round(STRATA * share)))
        even = np.arange(len(rows)) / len(rows)
        by_kw = (passed - size_kw[rows]) / max(passed[-1], 1e-9)
        stratum[rows] = used + np.minimum((count * 0.5 * (even + by_kw)).astype(np.int64), count - 1)
        used += count
    order = np.lexsort((dice.random(len(zone)), stratum))
    edges = np.flatnonzero(np.diff(stratum[order])) + 1
    return order, cells, tuple(zip([0, *edges.tolist()], [*edges.tolist(), len(zone)], strict=True))


def _alone(pricer: Pricer, table: Mapping[str, Column], columns: Mapping[str, Column], setting: Setting) -> Any:
    """Whether a row is all there is to say about its resource: a stay whose charger expects no other car.

    A stay that is over does not count beside one that is not.
    """
    if pricer.kind is not ResourceKind.EV_SESSION:
        return np.ones(len(columns["resource_id"]), dtype=np.bool_)
    live = setting.hours_since_start(table["departure"]) > 0
    rows_of, live_of = Counter(table["resource_id"].tolist()), Counter(table["resource_id"][live].tolist())
    still = setting.hours_since_start(columns["departure"]) > 0
    return np.array(
        [
            live_of[name] == 1 if here else rows_of[name] == 1
            for name, here in zip(columns["resource_id"].tolist(), still.tolist(), strict=True)
        ],
        dtype=np.bool_,
    )


def _near(problem: DispatchProblem, resource: IndexArray) -> Near:
    if problem.real_time is None:
        return NOTHING_NEAR
    return Near(
        np.ascontiguousarray(problem.real_time.now_kw[resource]),
        np.ascontiguousarray(problem.real_time.plan_kw[resource]),
    )


def cut(blocks: Sequence[Block], pieces: int) -> list[Shard]:
    """Every cell in up to so many pieces."""
    found = []
    for b, block in enumerate(blocks):
        for first, last in block.cells:
            edges = np.linspace(first, last, min(pieces, last - first) + 1).round().astype(np.int64)
            found += [Shard(b, low, high, int(block.zone[first])) for low, high in itertools.pairwise(edges.tolist())]
    return found


def strata_of(blocks: Sequence[Block]) -> list[Shard]:
    """The strata of a fleet, zone by zone."""
    found = [
        Shard(b, first, last, int(block.zone[first])) for b, block in enumerate(blocks) for first, last in block.strata
    ]
    return sorted(found, key=lambda shard: shard.zone)


def sample_of(strata: Sequence[Shard], rows: int) -> list[Shard]:
    """The first ``rows`` rows of every stratum, standing for all of it."""
    return [
        replace(shard, last=min(shard.last, shard.first + rows), weight=len(shard) / min(len(shard), rows))
        for shard in strata
    ]
