"""The baseline's sums: what the whole fleet draws undisturbed, per zone and price class, and what that costs."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from models.dispatch.fast.coupling import Classes
from models.dispatch.fast.doubtful import corrected
from models.dispatch.fast.given import Owners, table_sums
from models.dispatch.fast.pricing.common import NOTHING_NEAR, Prices, Sums
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.shards import Block, Shard, cut
from models.dispatch.fast.sweeps import Sweeper
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray


@dataclass(frozen=True)
class Baseline:
    """``zone_kw``: (Z, T).  ``class_kw``: (C, T) times reliability.  ``late_per_kwh``: (K,) price of virtual slots in
    the baseline problem.  ``corrected``: resources whose baseline is not their oracle's, by row.
    """

    zone_kw: FloatArray
    class_kw: FloatArray
    late_per_kwh: FloatArray
    corrected: Mapping[int, FloatArray]
    cost: Callable[[], float]
    """What ``cost_cny`` waits for: only the gap needs it, and the search may begin without."""

    @cached_property
    def cost_cny(self) -> float:
        """Tariffs and own costs, no penalties."""
        return self.cost()


def baseline_prices(setting: Setting, classes: int) -> Prices:
    """Tariff and the tie-breaking term, which the virtual slot has at the horizon's end; no coupling, no real time."""
    count = len(setting.hours)
    late = setting.tariff_mean + setting.tie_break_at_end
    nothing = np.zeros((classes, count))
    return Prices(
        hours=setting.hours,
        tariff=setting.tariffs,
        late=late,
        late_cost=setting.tariff_mean,
        zone=setting.tie_break,
        by_class=nothing,
        stray=np.zeros(count),
        switch=0.0,
        noise=np.empty((0, count)),
    )


def baseline_of(
    problem: DispatchProblem, setting: Setting, blocks: Sequence[Block], sweeper: Sweeper, classes: Classes
) -> Baseline:
    """Sums of the baseline: of the market day's table if the problem gives one, else of every row's own.

    With a given table the own costs in ``cost_cny``, computed aside, are those of its power where rows are many
    (stores and stays); the few others, and stays that share a charger, are taken at their own baseline's.
    """
    count, width = len(setting.hours), len(classes.aggregator_of)
    zone_kw, class_kw = np.zeros((len(problem.zones), count)), np.zeros((width, count))
    prices = baseline_prices(setting, width)
    shards = [shard for shard in cut(blocks, 8) if blocks[shard.block].pricer.base is None]

    def ask(shard: Shard) -> Sums:
        return sweeper.sums_near(shard, prices, NOTHING_NEAR)

    if problem.baseline_kw is not None:
        owners = Owners.of(blocks, len(problem.baseline_kw))
        groups = (len(zone_kw), len(class_kw), len(setting.tariffs))
        given = table_sums(problem.baseline_kw, owners, groups, sweeper.workers.map)
        drawn_cny = float(((given.tariff_kw * setting.tariffs) @ setting.hours).sum())
        aside, table_kw = ThreadPoolExecutor(1), np.ascontiguousarray(problem.baseline_kw, dtype=np.float64)
        own = aside.submit(lambda: drawn_cny + sum(_spent(blocks, shard, table_kw, prices, ask) for shard in shards))
        aside.shutdown(wait=False)
        return Baseline(given.zone_kw, given.class_kw, prices.late, {}, own.result)
    cost = 0.0
    for shard, sums in zip(shards, sweeper.workers.map(ask, shards), strict=True):
        zone_kw[shard.zone] += sums.power_kw
        class_kw += sums.class_kw
        cost += float(sums.totals[1])
    for block in blocks:
        if block.pricer.base is not None:
            cost += _profiled(block, setting, zone_kw, class_kw)
    better = corrected(problem, blocks, sweeper, prices)
    cost += better.cost_cny + _exchange(blocks, sweeper, prices, better.power_kw, zone_kw, class_kw)
    return Baseline(zone_kw, class_kw, prices.late, better.power_kw, lambda: cost)


def _spent(
    blocks: Sequence[Block], shard: Shard, table_kw: FloatArray, prices: Prices, ask: Callable[[Shard], Sums]
) -> float:
    """Own costs and virtual slots of a shard's rows, CNY: under the table's power where that is known by itself."""
    block = blocks[shard.block]
    units, members = block.units, block.members
    if block.pricer.spent is None:
        return float(ask(shard).totals[2])
    found = block.pricer.spent(units, members, table_kw, shard.first, shard.last, prices.late_cost)
    for i in (shard.first + np.flatnonzero(~members.alone[shard.first : shard.last])).tolist():
        found += float(ask(replace(shard, first=i, last=i + 1)).totals[2])
    return found


def _exchange(
    blocks: Sequence[Block],
    sweeper: Sweeper,
    prices: Prices,
    power_kw: Mapping[int, FloatArray],
    zone_kw: FloatArray,
    class_kw: FloatArray,
) -> float:
    """Put these baselines into the sums in the oracles' place; returns what the oracles' cost, negative."""
    cost = 0.0
    entered: set[int] = set()
    for b, block in enumerate(blocks if power_kw else ()):
        for i in np.flatnonzero(np.isin(block.members.resource, list(power_kw))).tolist():
            zone, resource = int(block.zone[i]), int(block.members.resource[i])
            sums = sweeper.sums_near(Shard(b, i, i + 1, zone), prices, NOTHING_NEAR)
            cost -= float(sums.totals[1])
            zone_kw[zone] -= sums.power_kw
            class_kw -= sums.class_kw
            if resource not in entered:  # a charger has a row per stay
                entered.add(resource)
                zone_kw[zone] += power_kw[resource]
                class_kw[block.members.price_class[i]] += block.members.reliability[i] * power_kw[resource]
    return cost


def _profiled(block: Block, setting: Setting, zone_kw: FloatArray, class_kw: FloatArray) -> float:
    """Add profile x scale of all rows of a block; returns what the tariffs cost."""
    members, units = block.members, block.units
    profiles = setting.profiles
    for target, index, weight in (
        (zone_kw, block.zone, units.scale_kw),
        (class_kw, members.price_class, units.scale_kw * members.reliability),
    ):
        amount = np.zeros((len(target), len(profiles)))
        np.add.at(amount, (index, units.profile), weight)
        target[:] += amount @ profiles
    amount = np.zeros((len(setting.tariffs), len(profiles)))
    np.add.at(amount, (members.tariff, units.profile), units.scale_kw)
    return float((((amount @ profiles) * setting.tariffs) @ setting.hours).sum())
