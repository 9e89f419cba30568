"""Handing out: every row's schedule, once, in place; and what all of them add up to and cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.allocation import Part
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Block, Shard
from models.dispatch.fast.sweeps import Sweeper
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray

_PIECES = 64


@dataclass(frozen=True)
class Handout:
    """``power_kw``: (R, T) in the order of ``fleet.resource_ids``.  ``zone_kw``: (Z, T), ``class_kw``: (C, T) times
    reliability: the sums of the schedules.  ``cost_cny``: tariffs, own costs, virtual slots and real time.
    """

    power_kw: FloatArray
    zone_kw: FloatArray
    class_kw: FloatArray
    cost_cny: float


@dataclass
class _Sum:
    """What one piece of the work found."""

    zone_kw: FloatArray
    class_kw: FloatArray
    cost_cny: float
    shared: list[tuple[IndexArray, FloatArray]]


def hand_out(problem: DispatchProblem, blocks: Sequence[Block], sweeper: Sweeper, parts: Sequence[Part]) -> Handout:
    """Compute every part's schedules at its points, mix them, and add up."""
    count, resources = len(problem.grid), len(problem.fleet.resource_ids)
    power = np.zeros((resources, count))
    work = np.cumsum([(part.last - part.first) * len(part.points) for part in parts])
    edges = np.searchsorted(work, np.linspace(0, work[-1] if len(work) else 0, _PIECES + 1)[1:-1])
    pieces = [piece for piece in np.split(np.arange(len(parts)), edges) if len(piece)]

    def run(piece: IndexArray) -> _Sum:
        found = _Sum(np.zeros((len(problem.zones), count)), np.zeros((sweeper.classes, count)), 0.0, [])
        for k in piece.tolist():
            _hand_out_part(parts[k], blocks, sweeper, power, found)
        return found

    zone_kw, class_kw = np.zeros((len(problem.zones), count)), np.zeros((sweeper.classes, count))
    cost = 0.0
    for found in sweeper.workers.map(run, pieces):
        zone_kw += found.zone_kw
        class_kw += found.class_kw
        cost += found.cost_cny
        for resource, schedules in found.shared:
            np.add.at(power, resource, schedules)
    cost += _of_chargers(problem, blocks, power)
    return Handout(power, zone_kw, class_kw, cost)


def _hand_out_part(part: Part, blocks: Sequence[Block], sweeper: Sweeper, power: FloatArray, found: _Sum) -> None:
    block = blocks[part.block]
    zone = int(block.zone[part.first])
    shard = Shard(part.block, part.first, part.last, zone)
    rows = np.arange(part.first, part.last)
    mixed = np.zeros((len(rows), power.shape[1]))
    own = 0.0
    for weight, point, noise in zip(part.weights, part.points, part.noise, strict=True):
        schedules = np.empty_like(mixed)
        sums = sweeper.sums(shard, sweeper.prices(point, noise), schedules)
        mixed += weight * schedules
        found.zone_kw[zone] += weight * sums.power_kw
        found.class_kw += weight * sums.class_kw
        own += weight * float(sums.totals[2])
        if len(part.weights) == 1:
            found.cost_cny += float(sums.totals[1])
    if len(part.weights) > 1:
        found.cost_cny += _cost_of_mix(block, rows, mixed, own, sweeper)
    alone = block.members.alone[rows]
    power[block.members.resource[rows[alone]]] = mixed[alone]
    if not alone.all():
        found.shared.append((block.members.resource[rows[~alone]], mixed[~alone]))


def _cost_of_mix(block: Block, rows: IndexArray, power_kw: FloatArray, own: float, sweeper: Sweeper) -> float:
    """Cost of schedules that are mixes: what bends (own costs of some kinds, real time) is computed again."""
    prices = sweeper.prices(None, 0.0)
    weighted = prices.hours * prices.tariff[block.members.tariff[rows]]
    cost = float(np.einsum("nt,nt->", weighted, power_kw))
    if block.pricer.own_cost is not None:
        own = float(block.pricer.own_cost(block.pricer.take(block.units, rows), prices.hours, power_kw).sum())
    cost += own
    if block.near.now_kw.size:
        alone = block.members.alone[rows]
        cost += sweeper.moving_cost(block.near.now_kw[rows][alone], block.near.plan_kw[rows][alone], power_kw[alone])
    return cost


def _of_chargers(problem: DispatchProblem, blocks: Sequence[Block], power_kw: FloatArray) -> float:
    """Real time's terms of chargers with several stays, which only their sum can tell."""
    terms, penalties = problem.real_time, problem.penalties
    if terms is None:
        return 0.0
    several = [block.members.resource[~block.members.alone] for block in blocks]
    chargers = np.unique(np.concatenate([*several, np.empty(0, dtype=np.int64)]))
    if not chargers.size:
        return 0.0
    power = power_kw[chargers]
    switched = np.nansum(np.abs(power[:, 0] - terms.now_kw[chargers]))
    off = np.abs(power - terms.plan_kw[chargers]) * terms.stray_applies * problem.grid.hours
    return float(penalties.switch_cost_per_kw * switched + penalties.stray_cost_per_kwh * np.nansum(off))
