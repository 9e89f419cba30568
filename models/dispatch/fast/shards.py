"""Shards: a fleet cut into ranges of like rows that stay where their data is.

Rows of one pricer and one zone (a cell) lie side by side, in strata of like size; inside a stratum their order is
random, so that the first few of it are a fair sample of all, and a shard is two numbers.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.coupling import Attributes, Classes
from models.dispatch.fast.pricing.common import NOTHING_NEAR, Members, Near
from models.dispatch.fast.pricing.registry import PRICERS, Pricer
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.problem import DispatchProblem
from models.dispatch.states import FleetStates, StateColumns
from models.fleet import Column
from models.intervals import FloatArray
from models.resources import ResourceKind

STRATA = 24
"""Strata of a zone, about: as many as columns of it in the master, for every sweep."""
_SEED = 7
_WIDE = math.log(4.0)
"""Sizes of a cell that differ by more than this factor."""
_LEAST_SIZE = 1e-3
"""Rows below this part of the mean size are all alike."""
Columns = Mapping[str, Column]
Ranges = tuple[tuple[int, int], ...]
Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


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
    cells: Ranges
    strata: Ranges

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


class Roll(NamedTuple):
    """A kind's table (n,) with its names as numbers: fields as in ``Members``, ``attributes`` as in ``Classes``."""

    columns: Columns
    attributes: Attributes
    tariff: IndexArray
    resource: IndexArray
    alone: NDArray[np.bool_]
    states: StateColumns


class _Chosen(Columns):
    """Some rows of columns; a column is gathered when it is asked for."""

    def __init__(self, columns: Columns, rows: IndexArray) -> None:
        self._columns, self._rows = columns, rows

    def __getitem__(self, name: str) -> Column:
        return self._columns[name][self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def blocks_of(
    problem: DispatchProblem,
    tables: Mapping[ResourceKind, Columns],
    classes: Classes,
    setting: Setting,
    known: FleetStates | None = None,
    workers: Mapper = map,
) -> list[Block]:
    """The fleet as blocks; ``tables`` as admitted.  ``known``: its states, if somebody has looked them up.

    ``workers``: who makes them, block by block.
    """
    known = known or FleetStates(problem)
    rolls = {
        kind: Roll(
            columns,
            classes.attributes_of[kind],
            rows_in(setting.tariff_row, columns["tariff_id"]),
            problem.fleet.rows_of(kind),
            _alone(kind, columns, problem.fleet.rows_of(kind), setting),
            known.of(kind),
        )
        for kind, columns in tables.items()
    }
    chosen = [
        (pricer, roll, np.flatnonzero(mask), pricer.size_kw(roll.columns)[mask])
        for pricer in PRICERS
        if (roll := rolls.get(pricer.kind)) is not None and (mask := pricer.selects(roll.columns)).any()
    ]
    zone_kw = np.zeros(len(classes.zones))
    for _, roll, rows, size_kw in chosen:
        zone_kw += np.bincount(roll.attributes[0][rows], weights=size_kw, minlength=len(zone_kw))

    seed = _seed_of(problem)

    def make(part: tuple[Pricer, Roll, IndexArray, FloatArray]) -> Block:
        pricer, roll, rows, size_kw = part
        order, cells, strata = _strata(roll.attributes[0][rows], size_kw, zone_kw, seed)
        return _block(pricer, roll, rows[order], problem, classes, setting, cells, strata)

    return list(workers(make, chosen))


def _block(
    pricer: Pricer,
    roll: Roll,
    rows: IndexArray,
    problem: DispatchProblem,
    classes: Classes,
    setting: Setting,
    cells: Ranges,
    strata: Ranges,
) -> Block:
    """The block of some rows of a table, in this order."""
    zone, aggregator, pillar = (each[rows] for each in roll.attributes)
    columns = _Chosen(roll.columns, rows)
    members = Members(
        tariff=roll.tariff[rows],
        price_class=classes.class_of[zone, aggregator, pillar],
        reliability=np.ascontiguousarray(columns["reliability_fraction"], dtype=np.float64),
        resource=roll.resource[rows],
        alone=roll.alone[rows],
    )
    units = pricer.arrays(columns, setting, roll.states.rows(rows))
    return Block(pricer, units, members, _near(problem, members.resource), zone, cells, strata)


def _seed_of(problem: DispatchProblem) -> list[int]:
    """The dice of a cycle: who was a sample's row made good what the others missed, and is none the next time."""
    if problem.real_time is None:
        return [_SEED]
    return [_SEED, int(problem.grid.start.timestamp())]


def _strata(
    zone: IndexArray, size_kw: FloatArray, zone_kw: FloatArray, seed: list[int]
) -> tuple[IndexArray, Ranges, Ranges]:
    """An order of rows (n,) by zone and stratum, random inside, with the ranges of the cells and of the strata.

    A cell has as many strata as it has of the zone's kW.
    """
    dice = np.random.default_rng(seed)
    order = _sorted_by(zone, np.argsort(dice.random(len(zone))))
    stratum = np.zeros(len(zone), dtype=np.int64)
    edges = np.flatnonzero(np.diff(zone[order])) + 1
    cells = tuple(zip([0, *edges.tolist()], [*edges.tolist(), len(zone)], strict=True))
    used = 0
    for first, last in cells:
        rows = order[first:last]
        rows[:] = rows[np.argsort(-size_kw[rows], kind="stable")]
        passed = np.cumsum(size_kw[rows])
        share = passed[-1] / max(zone_kw[zone[rows[0]]], 1e-9)
        count = max(1, min(len(rows), round(STRATA * share)))
        stratum[rows] = used + np.minimum((count * _depth(size_kw[rows])).astype(np.int64), count - 1)
        used += count
    order = _sorted_by(stratum, np.argsort(dice.random(len(zone))))
    edges = np.flatnonzero(np.diff(stratum[order])) + 1
    return order, cells, tuple(zip([0, *edges.tolist()], [*edges.tolist(), len(zone)], strict=True))


def _depth(size_kw: FloatArray) -> FloatArray:
    """How far rows (n,), the largest first, lie from the largest, 0, towards the smallest, below 1.

    Evenly by number and by kW; where sizes differ much, by their logarithm too: one battery of 600 kW among a thousand
    of 5 kW would make a sample of them worthless, so the large ones need a stratum to themselves.
    """
    even = np.arange(len(size_kw)) / len(size_kw)
    passed = np.cumsum(size_kw)
    depth = 0.5 * (even + (passed - size_kw) / max(passed[-1], 1e-9))
    digits = np.log(np.maximum(size_kw, max(_LEAST_SIZE * passed[-1] / len(size_kw), 1e-9)))
    span = digits[0] - digits[-1]
    return np.asarray(0.5 * (depth + (digits[0] - digits) / span) if span > _WIDE else depth)


def _sorted_by(number: IndexArray, order: IndexArray) -> IndexArray:
    """``order`` (n,) sorted by a small number of each, like beside like as they were."""
    few = number.size == 0 or number.max() < 1 << 16
    # numpy counts 16 bits out, and compares more
    return order[np.argsort(number[order].astype(np.uint16 if few else np.int64), kind="stable")]


def _alone(kind: ResourceKind, columns: Columns, resource: IndexArray, setting: Setting) -> NDArray[np.bool_]:
    """Whether a row is all there is to say about its resource: a stay whose charger expects no other car.

    A stay that is over does not count beside one that is not.
    """
    if kind is not ResourceKind.EV_SESSION:
        return np.ones(len(resource), dtype=np.bool_)
    live = setting.hours_since_start(columns["departure"]) > 0
    rows_of, live_of = np.bincount(resource)[resource], np.bincount(resource, weights=live)[resource]
    return np.asarray(np.where(live, live_of == 1, rows_of == 1))


def _near(problem: DispatchProblem, resource: IndexArray) -> Near:
    if problem.real_time is None:
        return NOTHING_NEAR
    terms = problem.real_time
    otherwise_kw = np.empty((0, 0)) if problem.baseline_kw is None else problem.baseline_kw
    tables = (np.ascontiguousarray(each, dtype=np.float64) for each in (terms.now_kw, terms.plan_kw, otherwise_kw))
    return Near(resource, *tables)


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


Place = tuple[str, int, int, int]
"""Which stratum it is: name of the pricer, zone, the how manyth of how many in there."""


def places_of(blocks: Sequence[Block], strata: Sequence[Shard]) -> list[Place]:
    """Where the strata of a fleet lie, in their order."""
    cells = [(stratum.block, stratum.zone) for stratum in strata]
    many, seen = Counter(cells), Counter[tuple[int, int]]()
    places = []
    for block, zone in cells:
        places.append((blocks[block].pricer.name, zone, seen[block, zone], many[block, zone]))
        seen[block, zone] += 1
    return places
