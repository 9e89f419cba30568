"""Shards: a fleet cut into ranges of like rows that stay where their data is.

Rows of one pricer and one zone lie side by side in random order, so that the first few of a range are a fair sample
of it, and a shard is two numbers.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.dispatch.fast.coupling import Classes
from models.dispatch.fast.pricing.common import NOTHING_NEAR, Members, Near
from models.dispatch.fast.pricing.registry import PRICERS, Pricer
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.problem import DispatchProblem
from models.fleet import Column
from models.resources import ResourceKind

_SEED = 7


@dataclass(frozen=True)
class Block:
    """All rows of one pricer, sorted by zone.

    ``units``: its struct of arrays.  ``zone``: (n,) rising.  ``cells``: (first, last) of every zone that occurs.
    ``sessions``: (n,) names of stays at chargers, else None.
    """

    pricer: Pricer
    units: Any
    members: Members
    near: Near
    zone: IndexArray
    cells: tuple[tuple[int, int], ...]

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
    return [
        _block(pricer, table, np.flatnonzero(mask), problem, classes, setting, row_of)
        for pricer in PRICERS
        if (table := tables.get(pricer.kind)) is not None and (mask := pricer.selects(table)).any()
    ]


def _block(
    pricer: Pricer,
    table: Mapping[str, Column],
    chosen: IndexArray,
    problem: DispatchProblem,
    classes: Classes,
    setting: Setting,
    row_of: Mapping[str, int],
) -> Block:
    zone, aggregator, pillar = classes.attributes(table)
    shuffled = np.random.default_rng(_SEED).permutation(len(chosen))
    chosen = chosen[shuffled]
    chosen = chosen[np.argsort(zone[chosen], kind="stable")]
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
    edges = np.flatnonzero(np.diff(zone)) + 1
    cells = tuple(zip([0, *edges.tolist()], [*edges.tolist(), len(zone)], strict=True))
    return Block(pricer, units, members, _near(problem, resource), zone, cells)


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


@dataclass(frozen=True)
class Cut:
    """A fleet, or a sample of it, in shards; shards lie in groups (S,) whose columns the master mixes as one.

    ``turn``: (S,) which shard of its zone comes when; shards of one turn are asked at the same time.
    """

    shards: list[Shard]
    group: IndexArray
    turn: IndexArray

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return int(self.group[-1]) + 1 if len(self.group) else 0


def cut(blocks: Sequence[Block], *, turns: int, groups: int, fraction: float = 1.0, least_rows: int = 8) -> Cut:
    """Every zone in up to ``turns`` shards of equal work and about ``groups`` groups, each of one block.

    ``fraction`` < 1: a fair sample of that part of every cell, at least ``least_rows`` rows, which stands for all.
    """
    dice = np.random.default_rng(_SEED)
    cells: dict[int, list[tuple[int, int, int, int]]] = {}
    for b, block in enumerate(blocks):
        for first, last in block.cells:
            count = last - first
            taken = min(count, max(least_rows, int(np.ceil(fraction * count))))
            cells.setdefault(int(block.zone[first]), []).append((b, first, taken, count))
    shards: list[Shard] = []
    group: list[int] = []
    turn: list[int] = []
    used = 0
    for zone, own in sorted(cells.items()):
        work = np.array([blocks[b].pricer.work * taken for b, _, taken, _ in own])
        begun = len(shards)
        for (b, first, taken, count), share in zip(own, work / work.sum(), strict=True):
            pieces = max(1, min(taken, round(turns * share)))
            bundles = max(1, min(pieces, round(groups * share)))
            edges = np.linspace(first, first + taken, pieces + 1).round().astype(np.int64)
            for piece, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
                shards.append(Shard(b, low, high, zone, count / taken))
                group.append(used + piece * bundles // pieces)
            used += bundles
        order = dice.permutation(len(shards) - begun)
        spread = np.floor(order * (turns / max(turns, len(order)))).astype(np.int64)
        turn.extend(spread.tolist())
    return Cut(shards, np.array(group, dtype=np.int64), np.array(turn, dtype=np.int64))
