"""Handing out: every row's schedule, once, in place; and what all of them add up to and cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.allocation import Part
from models.dispatch.fast.mixing import Mixing, changes, powers
from models.dispatch.fast.pricing.common import Near
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Block, Shard
from models.dispatch.fast.sweeps import Point, Sweeper
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray

_PIECES = 64


@dataclass
class _Sum:
    """What one piece of the work found."""

    zone_kw: FloatArray
    class_kw: FloatArray
    cost_cny: float
    shared: list[tuple[IndexArray, FloatArray]]


class Handout:
    """Schedules handed out so far.

    ``power_kw``: (R, T) in the order of ``fleet.resource_ids``.  ``zone_kw``: (Z, T), ``class_kw``: (C, T) times
    reliability: the sums of the schedules.  ``cost_cny``: tariffs, own costs, virtual slots and real time.
    """

    def __init__(
        self, problem: DispatchProblem, blocks: Sequence[Block], sweeper: Sweeper, power_kw: FloatArray | None = None
    ) -> None:
        """``power_kw``: zeros for all, if somebody has made them already (``room_kw``)."""
        self._problem, self._blocks, self._sweeper = problem, blocks, sweeper
        self.power_kw = room_kw(problem) if power_kw is None else power_kw
        self.zone_kw = np.zeros((len(problem.zones), len(problem.grid)))
        self.class_kw = np.zeros((sweeper.classes, len(problem.grid)))
        self.cost_cny = 0.0

    def take_back(self) -> None:
        """Nobody has a schedule."""
        for sums in (self.power_kw, self.zone_kw, self.class_kw):
            sums.fill(0.0)
        self.cost_cny = 0.0

    def add(self, parts: Sequence[Part]) -> None:
        """Compute every part's schedules at its points, mix them, and add up."""
        work = np.cumsum([(part.last - part.first) * len(part.points) for part in parts])
        edges = np.searchsorted(work, np.linspace(0, work[-1] if len(work) else 0, _PIECES + 1)[1:-1])
        pieces = [piece for piece in np.split(np.arange(len(parts)), edges) if len(piece)]

        def run(piece: IndexArray) -> _Sum:
            found = _Sum(np.zeros_like(self.zone_kw), np.zeros_like(self.class_kw), 0.0, [])
            for k in piece.tolist():
                _hand_out_part(parts[k], self._blocks, self._sweeper, self.power_kw, found)
            return found

        shared: list[tuple[IndexArray, FloatArray]] = []
        for found in self._sweeper.workers.map(run, pieces):
            self.zone_kw += found.zone_kw
            self.class_kw += found.class_kw
            self.cost_cny += found.cost_cny
            shared += found.shared
        # only now: a stay that is over may share its charger with one whose schedule another thread writes in place
        for resource, schedules in shared:
            np.add.at(self.power_kw, resource, schedules)

    def follow(self, parts: Sequence[Part], points: Sequence[Point], stray_per_kwh: float) -> None:
        """Give every row the cheapest schedule that stays near to its mix, at its zone's of ``points`` (Z,).

        A kWh off the mix costs ``stray_per_kwh``; what a row is off, the next of its zone is asked to make good.
        """
        owed_kw = np.zeros_like(self.zone_kw)
        for part in parts:
            block = self._blocks[part.block]
            zone = int(block.zone[part.first])
            mix_kw, _ = _mix_of(part, block, self._sweeper)
            prices = self._sweeper.prices(points[zone])._replace(pull=stray_per_kwh)
            wanted = np.empty((1, mix_kw.shape[1]))
            near = Near(np.zeros(len(block), dtype=np.int64), np.full(1, np.nan), wanted, np.empty((0, 0)))
            for i, wanted_kw in zip(range(part.first, part.last), mix_kw, strict=True):
                near.plan_kw[0] = wanted_kw + owed_kw[zone]
                schedule, row = np.empty((1, mix_kw.shape[1])), np.array([i])
                sums = self._sweeper.sums_near(Shard(part.block, i, i + 1, zone), prices, near, schedule)
                owed_kw[zone] = near.plan_kw[0] - schedule[0]
                self.zone_kw[zone] += sums.power_kw
                self.class_kw += sums.class_kw
                self.cost_cny += _cost_of_mix(block, row, schedule, float(sums.totals[2]), self._sweeper)
                self.power_kw[block.members.resource[i]] = schedule[0]

    def finish(self) -> None:
        """Everybody has a schedule: add what only a whole charger can tell."""
        self.cost_cny += _of_chargers(self._problem, self._blocks, self.power_kw)


def room_kw(problem: DispatchProblem) -> FloatArray:
    """Zeros (R, T), written once, so that the memory is there: for a million that takes most of a second."""
    power_kw = np.empty((len(problem.fleet.resource_ids), len(problem.grid)))
    power_kw.fill(0.0)
    return power_kw


def _hand_out_part(part: Part, blocks: Sequence[Block], sweeper: Sweeper, power: FloatArray, found: _Sum) -> None:
    block, rows = blocks[part.block], slice(part.first, part.last)
    if len(part.points) == 1:
        schedules = np.empty((part.last - part.first, power.shape[1]))
        sums = sweeper.sums(_shard(part, block), sweeper.prices(part.points[0], real=True), schedules)
        found.zone_kw[block.zone[part.first]] += sums.power_kw
        found.class_kw += sums.class_kw
        found.cost_cny += float(sums.totals[1])
    else:
        schedules = _mixed(part, block, sweeper, found)
    alone, resource = block.members.alone[rows], block.members.resource[rows]
    if alone.all():
        power[resource] = schedules
    else:
        power[resource[alone]] = schedules[alone]
        found.shared.append((resource[~alone], schedules[~alone]))


def _mix_of(
    part: Part, block: Block, sweeper: Sweeper, of: Callable[[FloatArray], FloatArray] = lambda power_kw: power_kw
) -> tuple[FloatArray, float]:
    """The mix (rows, T) of a part's answers, or ``of`` what they make, and of their own costs, CNY.

    It need not be a schedule.
    """
    mixed, own = np.zeros((part.last - part.first, part.points[0].zone.size)), 0.0
    for weight, point in zip(part.weights, part.points, strict=True):
        schedules = np.empty_like(mixed)
        sums = sweeper.sums(_shard(part, block), sweeper.prices(point, real=True), schedules)
        mixed += weight * of(schedules)
        own += weight * float(sums.totals[2])
    return mixed, own


def _shard(part: Part, block: Block) -> Shard:
    return Shard(part.block, part.first, part.last, int(block.zone[part.first]))


def _mixed(part: Part, block: Block, sweeper: Sweeper, found: _Sum) -> FloatArray:
    """Schedules (rows, T) that are mixes of answers at several points."""
    zone, rows = int(block.zone[part.first]), np.arange(part.first, part.last)
    if block.pricer.mixing is Mixing.BY_LEVEL:
        units = block.pricer.take(block.units, rows)
        change, own = _mix_of(part, block, sweeper, lambda schedules: changes(units, schedules))
        mixed = powers(units, change)
    else:
        mixed, own = _mix_of(part, block, sweeper)
    found.zone_kw[zone] += mixed.sum(axis=0)
    reliable = mixed * block.members.reliability[rows, None]
    np.add.at(found.class_kw, block.members.price_class[rows], reliable)
    found.cost_cny += _cost_of_mix(block, rows, mixed, own, sweeper)
    return mixed


def _cost_of_mix(block: Block, rows: IndexArray, power_kw: FloatArray, own: float, sweeper: Sweeper) -> float:
    """Cost of schedules that are mixes: what bends (own costs of some kinds, real time) is computed again."""
    prices = sweeper.prices(sweeper.untouched())
    weighted = prices.hours * prices.tariff[block.members.tariff[rows]]
    cost = float(np.einsum("nt,nt->", weighted, power_kw))
    late = prices.late_cost[block.members.tariff[rows]]
    if block.pricer.own_cost is not None:
        own = float(block.pricer.own_cost(block.pricer.take(block.units, rows), prices.hours, power_kw, late).sum())
    cost += own
    if block.near.row.size:
        alone = block.members.alone[rows]
        planned = block.near.row[rows[alone]]
        cost += sweeper.moving_cost(block.near.now_kw[planned], block.near.plan_kw[planned], power_kw[alone])
    return cost


def _of_chargers(problem: DispatchProblem, blocks: Sequence[Block], power_kw: FloatArray) -> float:
    """Real time's terms of chargers with several stays, which only their sum can tell."""
    terms, penalties = problem.real_time, problem.penalties
    if terms is None:
        return 0.0
    nobody = np.empty(0, dtype=np.int64)
    several, single = (
        np.concatenate([*(block.members.resource[block.members.alone == alone] for block in blocks), nobody])
        for alone in (False, True)
    )
    chargers = np.setdiff1d(several, single)  # a stay that is over may lie beside the only one that is not
    if not chargers.size:
        return 0.0
    power = power_kw[chargers]
    switched = np.nansum(np.abs(power[:, 0] - terms.now_kw[chargers]))
    off = np.abs(power - terms.plan_kw[chargers]) * terms.stray_applies * problem.grid.hours
    return float(penalties.switch_cost_per_kw * switched + penalties.stray_cost_per_kwh * np.nansum(off))
