"""The search: first a centre with its bound, then one schedule for every row.

*Centre.*  A large fleet is asked in a sample, which stands for all (``sampling``).

*Handing out*, so that each makes good what the ones before could not keep: what switches (unless all do) takes one of
its group's schedules, or, where they are few, each its own that is near to the mix, and a new centre is looked for
beside it (a pump of 24 MW in a zone that moves 70 MW cannot be made good at the old one); then the portions of a large
fleet, until the sample is left; then who mixes by level, then by power.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.allocation import Part, mixed, split, supports, undivided
from models.dispatch.fast.aside import Aside
from models.dispatch.fast.certificate import Bound, bound_of
from models.dispatch.fast.city import City
from models.dispatch.fast.generation import DIRECTIONS, Fixed, Generator, rows_cost
from models.dispatch.fast.handout import Handout
from models.dispatch.fast.keeping import divided, in_a_hurry, within_reach
from models.dispatch.fast.master import Mix
from models.dispatch.fast.mixing import Mixing
from models.dispatch.fast.sampling import Sampled
from models.dispatch.fast.shards import Place, Shard, places_of, strata_of
from models.dispatch.fast.sweeps import Columns, Workers
from models.dispatch.fast.warm import LastMix
from models.dispatch.solve_clock import look
from models.intervals import FloatArray

Mask = NDArray[np.bool_]


class Moment(NamedTuple):
    """A part of the deadline: of long ones, of short ones, and where most rows keep to a plan."""

    long: float
    short: float
    keeping: float = 1.0


SAMPLE_ROWS, SAMPLE_ROWS_PER_S = 200_000, 8_000.0
"""Rows of the sample at most, and for every second of the deadline; a fleet not twice as large is solved without."""
LEAST_ROWS = 8
"""Rows of a stratum in the sample at least."""
LOOKS = 3
"""Times that the whole fleet is asked, at most, after the sample's centre was found."""
APPROACH = 40
"""Proximal rounds at most."""
HOPE, ROUGHLY = 0.15, 3.0
"""What the master may still hope for at the end of them, as a part of the gap asked for; of a sample, so much more."""
ENOUGH, GOOD, WELL = 0.3, 0.6, 0.05
"""How near to what is proven for the rest a mix must come, as a part of the gap asked for: so near, or nearer where
what is handed out has cost so much that more than this would be lost in all, but never nearer than that."""
HURRIED_MIXES = 2
"""Mixes then."""
FIRST = 2
"""Mixes before those who take one schedule take it."""
ROUNDS = 20
"""Mixes at most after that."""
SETTLING = 3
"""Mixes at most while those who mix by power make good the rest."""
UNIT_ROWS = 40
"""Rows of a group at most whose rows are rounded one by one."""
DIVIDED = 0.99
"""Of which no column has more of the mix than this."""
FOLLOW_PER_KWH = 0.02
"""What it costs them to stray from their mix, CNY per kWh: little beside a tariff's spread, for at the centre's
prices all columns of a mix cost about the same, and it need not be met everywhere."""
STEADY_PER_KWH = 0.01
"""What a kWh off the day plan must be worth, at least, where a sample stands for many, CNY."""
REMEMBERED = 6
"""Columns of a stratum that the next plan begins with, the heaviest."""
MANY_ROWS, MANY_COLUMNS = 50_000, 8
"""More rows than this are handed out from a mix of no more columns of a group than that, about."""
ANSWERS_PER_S, HANDING, FEWEST = 400_000.0, 0.5, 4
"""Answers of rows in a second, about; part of what is left of the deadline for handing out what is mixed; and columns
of a group that are asked for in any case."""
KEPT = 1e-6
"""Slacks that cost less than this part of the gap's scale are nothing."""
NOISE_PER_KWH = 2e-5
"""Spread of the tiny price by which rows with equal choices differ, CNY per kWh."""
NEAR, AGAIN = Moment(0.53, 0.35, 0.38), Moment(0.66, 0.7)
SEARCH, SETTLE, LAST = Moment(0.8, 0.72, 0.55), Moment(0.88, 0.78, 0.58), Moment(0.95, 0.85, 0.62)
"""Parts of the deadline by which a whole fleet's centre is found, that of the rest, the search stops, the allocation,
and after which no corner and no bound is looked for."""
SAMPLED, SOON, PORTION = Moment(0.42, 0.4), Moment(0.52, 0.5), Moment(0.66, 0.66)
"""Those by which a sample's centre is found, the rest's, and new ones after portions."""
SHORT_S = 10.0
"""A short deadline."""


@dataclass(frozen=True)
class Limits:
    """When the search began (``look``), how long it may take, and the gap it is for."""

    began: float
    deadline_s: float
    gap: float

    def by(self, part: float) -> float:
        """The moment when a part of the deadline is over."""
        return self.began + self.deadline_s * part


@dataclass
class Search:
    """One search; ``facts``: how it went.  ``tell`` and ``mark`` hear of it.

    ``bound``: the best, with its duals.  ``asked``: the λ (N,) behind what the strata do.
    """

    city: City
    limits: Limits
    tell: Callable[[str], None]
    mark: Callable[[str], None]
    facts: dict[str, float] = field(default_factory=dict)
    bound: Bound = field(default_factory=lambda: Bound(-np.inf, np.empty(0)))
    asked: dict[Place, list[FloatArray]] = field(default_factory=dict)
    _looking: Aside[Bound] | None = None
    _kept: Fixed | None = None
    _places: list[Place] = field(default_factory=list)
    _place: dict[tuple[int, int], Place] = field(default_factory=dict)

    def run(self, start: FloatArray | None, last: LastMix, handout: Handout) -> None:
        """Hand one schedule to every row, from duals ``start`` (N,) and the mix of the last plan, or from nothing."""
        strata = strata_of(self.city.blocks)
        self._place = dict(zip(map(_edge, strata), places_of(self.city.blocks, strata), strict=True))
        self.facts |= {"rows": float(sum(len(group) for group in strata)), "groups": float(len(strata))}
        if start is not None and in_a_hurry(self.city, strata, self.limits.deadline_s):
            strata = self._keep(strata, start, handout)
        self._places = [self._place[_edge(group)] for group in strata]
        rows = sum(len(group) for group in strata)
        most = min(SAMPLE_ROWS, SAMPLE_ROWS_PER_S * self.limits.deadline_s)
        least = rows if rows <= 2 * most else max(LEAST_ROWS, int(most / len(strata)))
        fleet = Sampled(strata, least, self._generator)
        self.facts |= {"moving_rows": float(rows), "coupling_rows": float(len(self.city.rows.t))}
        self.facts |= {"sample_rows": float(sum(len(group) for group in fleet.sample.groups))}
        center = self._find_center(fleet, start, last, handout)
        self._hand_out(fleet, center, handout)

    def _keep(self, strata: Sequence[Shard], start: FloatArray, handout: Handout) -> list[Shard]:
        """Let most rows keep to the plan, and ask all for the bound aside; who is left, all if that is not enough."""
        keeping, moving = divided(self.city, strata, self.limits.deadline_s)
        handout.add(undivided(keeping, self.city.sweeper.following(start)))
        self._kept = self._handed_out(handout)
        reached, part = within_reach(self.city, self._generator(moving))
        self.tell(f"following the plan misses {part:.2g} of what is in reach")
        self.mark("keeping")
        if not reached:
            self._kept = None
            handout.take_back()
            return list(strata)
        self._look_aside(start)
        return moving

    def _handed_out(self, handout: Handout) -> Fixed:
        """All that is handed out by now."""
        rows = self.city.rows
        return Fixed(rows.values(handout.zone_kw, handout.class_kw) - rows.constant, handout.cost_cny)

    def _begin(self, fleet: Sampled, start: FloatArray | None, last: LastMix, handout: Handout) -> FloatArray:
        """A first λ (N,), and columns around it."""
        sample, near_a_plan = fleet.sample, start is not None and self.city.sweeper.near_a_plan
        if self._kept is not None and start is not None:
            sample.follow(start)
            return start
        if not fleet.whole:
            if near_a_plan:
                fleet.recollect(STEADY_PER_KWH * min(1.0, SHORT_S / self.limits.deadline_s))
            else:
                fleet.glance(np.zeros(len(self.city.rows.t)) if start is None else start)
        if start is not None:
            sample.recall(*last.find(self.city.rows, self._places))
        if start is not None and near_a_plan:
            sample.follow(start)
            if not fleet.whole:
                self._keep_units(fleet, handout)
        return sample.steer(self._by(SAMPLED), start)

    def _keep_units(self, fleet: Sampled, handout: Handout) -> None:
        """Let pumps keep to their plan: one of tens of MW that strays is not made good in a short time."""
        pool, blocks = fleet.sample.pool, self.city.blocks
        keeps = np.array([blocks[group.block].pricer.name == "hydro" for group in fleet.sample.groups], dtype=np.bool_)
        if keeps.any() and not keeps.all():
            theta = np.array([float(point.pull > 0) for point in pool.points])
            fleet.without(keeps, self._give(keeps, fleet.all, handout, fleet.sample, theta))

    def _find_center(self, fleet: Sampled, start: FloatArray | None, last: LastMix, handout: Handout) -> FloatArray:
        """A centre near to the best, (N,)."""
        city = self.city
        center = self._begin(fleet, start, last, handout)
        sample = fleet.sample
        if fleet.whole:
            center, answers = self._approach(sample, center, NEAR)
            if self._looking is None:
                self._learn(bound_of(city.rows, answers, center))
            self.mark("centre")
            return center
        center, _ = self._approach(sample, center, SAMPLED, ROUGHLY * HOPE)
        self.mark("sample")
        if fleet.planned and self.limits.deadline_s <= SHORT_S:
            self._look_aside(center)
            return center
        for _ in range(LOOKS):
            gained = self._look(fleet, center)
            if self._late(SAMPLED) or gained < HOPE * self.limits.gap * city.scale(self.bound.value_cny):
                break
            center, _ = self._approach(sample, center, SAMPLED, ROUGHLY * HOPE)
        self.mark("centre")
        return center

    def _look(self, fleet: Sampled, center: FloatArray) -> float:
        """Ask the whole fleet; by how much the bound gains, CNY."""
        return self._learn(bound_of(self.city.rows, fleet.look(center), center))

    def _learn(self, found: Bound) -> float:
        """Keep the better bound; by how much it gains, CNY."""
        gained = found.value_cny - self.bound.value_cny
        self.tell(f"bound {found.value_cny:.9g}")
        self.bound = found if gained > 0 else self.bound
        return gained

    def _look_aside(self, duals: FloatArray) -> None:
        """Ask the whole fleet at λ (N,) while others go on; ``_bound_known`` waits for it."""
        whole = self._generator(strata_of(self.city.blocks))

        def look(workers: Workers) -> Bound:
            whole.sweeper = self.city.sweeper.with_workers(workers)
            return bound_of(self.city.rows, whole.at(duals), duals)

        self._looking = Aside(look)

    def _bound_known(self) -> Bound:
        """The best bound, when what is looked for aside is there."""
        if self._looking is not None:
            found, self._looking = self._looking.result(), None
            self._learn(found)
        return self.bound

    def _hand_out(self, fleet: Sampled, center: FloatArray, handout: Handout) -> None:
        """One schedule for every row."""
        city = self.city
        switches = self._mixing(fleet.sample, Mixing.NOT)
        switching_first = switches.any() and not switches.all()
        mix = self._mix(fleet, center, FIRST if switching_first else ROUNDS)
        mixed_cny = mix.cost_cny
        if switching_first:
            units = switches & self._units(fleet, mix)
            self._follow(units, fleet, handout, mix, center)
            given = self._give(switches & ~units, fleet.all, handout, fleet.sample, mix.theta)
            fleet.without(switches, given)
            self.mark("switching")
            center, _ = self._approach(fleet.sample, center, AGAIN if fleet.whole else SOON)
            mix = self._mix(fleet, center)
        while not fleet.whole:
            self.mark("mix")
            every = np.ones(len(fleet.sample.groups), dtype=np.bool_)
            fleet.without_last(self._give(every, fleet.last, handout, fleet.sample, mix.theta, portion=True))
            self.mark("portions")
            center, _ = self._approach(fleet.sample, center, PORTION)
            mix = self._mix(fleet, center)
        self.mark("mix")
        by_level = self._mixing(fleet.sample, Mixing.BY_LEVEL)
        if by_level.any():
            mix = self._thinned(fleet.sample, mix)
            fleet.without(by_level, self._give(by_level, fleet.all, handout, fleet.sample, mix.theta))
            if fleet.sample.groups and not self._late(SETTLE):
                mix = self._blend(fleet.sample, center, SETTLING, SETTLE)
        rest = fleet.sample
        if rest.groups:  # others than those who mix by level
            every = np.ones(len(rest.groups), dtype=np.bool_)
            self._give(every, fleet.all, handout, rest, self._settled(rest, mix, center).theta)
        handout.finish()
        slacks_cny = rows_cost(city.rows, city.rows.values(handout.zone_kw, handout.class_kw))
        bound = self._bound_known()
        self.facts["mix_gap"] = (mixed_cny - bound.value_cny) / city.scale(mixed_cny)
        self._look_again(center, handout.cost_cny + slacks_cny)
        self.facts |= {"passes": rest.passes, "sweeps_s": rest.seconds["sweeps"], "master_s": rest.seconds["master"]}
        self.mark("allocation")

    def _mix(self, fleet: Sampled, center: FloatArray, rounds: int = ROUNDS) -> Mix:
        """A mix to hand out: for a portion it need not keep every row, since others will make it good."""
        if not fleet.whole:
            rounds = 1
        return self._blend(fleet.sample, center, rounds if self._kept is None else HURRIED_MIXES)

    def _look_again(self, center: FloatArray, cost_cny: float) -> None:
        """The bound at the last centre of all, if the first one's is not good enough and there is time.

        Where prices must rise far there was not enough of it for the first.
        """
        gap = (cost_cny - self.bound.value_cny) / self.city.scale(cost_cny)
        if gap <= self.limits.gap or self._late(LAST):
            return
        whole = self._generator(strata_of(self.city.blocks))
        self._learn(bound_of(self.city.rows, whole.at(center), center))

    def _by(self, part: Moment) -> float:
        """When a part of the deadline is over."""
        if self._kept is not None:
            return self.limits.by(part.keeping)
        short = min(1.0, SHORT_S / self.limits.deadline_s)
        return self.limits.by(part.long + (part.short - part.long) * short)

    def _late(self, part: Moment) -> bool:
        return look("late") > self._by(part)

    def _approach(
        self, generator: Generator, center: FloatArray, part: Moment, hope: float = HOPE
    ) -> tuple[FloatArray, Columns]:
        return generator.approach(center, until=self._by(part), rounds=APPROACH, enough=hope * self.limits.gap)

    def _blend(self, generator: Generator, center: FloatArray, rounds: int, part: Moment = SEARCH) -> Mix:
        gap_cny = self.limits.gap * self.city.scale(generator.known_cny)
        lost = max(0.0, generator.known_cny - self.bound.value_cny) / gap_cny
        enough = min(ENOUGH, max(WELL, GOOD - lost))
        directions = DIRECTIONS if self._kept is None else 1
        return generator.blend(
            center, until=self._by(part), rounds=rounds, enough_cny=enough * gap_cny, directions=directions
        )

    def _mixing(self, generator: Generator, how: Mixing) -> Mask:
        return np.array([self._mixing_of(group) is how for group in generator.groups], dtype=np.bool_)

    def _mixing_of(self, group: Shard) -> Mixing:
        return self.city.blocks[group.block].pricer.mixing

    def _units(self, fleet: Sampled, mix: Mix) -> Mask:
        """Groups of few rows that the mix divides, and that can stay near to it: each row is rounded by itself."""
        blocks, heaviest = self.city.blocks, np.zeros(len(fleet.sample.groups))
        np.maximum.at(heaviest, fleet.sample.pool.group, mix.theta)
        few = [blocks[group.block].pricer.follows and len(group) <= UNIT_ROWS for group in fleet.all]
        return np.array(few, dtype=np.bool_) & (heaviest < DIVIDED)

    def _remember(self, groups: Sequence[int], generator: Generator, theta: FloatArray) -> None:
        """Keep the λ of what is handed out for the next plan."""
        pool, columns = generator.pool, supports(generator.pool, theta, len(generator.groups))
        for g in groups:
            group = generator.groups[g]
            points = [pool.points[k] for k in columns[g]]
            asked = [point.duals for point in points if point.duals.size and point.pull == 0]
            # what most rows do is handed out first, and what makes good the rest after it
            self.asked.setdefault(self._place[group.block, group.first], asked[:REMEMBERED])

    def _settled(self, generator: Generator, mix: Mix, center: FloatArray) -> Mix:
        """The best mix, to the last digit; with new columns as long as slacks cost something."""
        nothing_cny = KEPT * self.city.scale(generator.known_cny)
        for k in range(SETTLING):
            if k:
                generator.between(center, generator.tame(mix.duals, center))
            mix = generator.exact(mix.duals, nothing_cny)
            if rows_cost(self.city.rows, mix.values) <= nothing_cny or look("settled") > self._by(SETTLE):
                return self._thinned(generator, mix)
        return generator.corner(self._by(LAST)) or mix

    def _thinned(self, generator: Generator, mix: Mix) -> Mix:
        """The same mix with few columns, where asking every row for many of them would take longer than finding it."""
        groups = generator.groups
        rows, columns = sum(len(group) for group in groups), len(mix.theta) / len(groups)
        left_s = max(0.0, self.limits.by(1.0) - look("thinned"))
        most = int(max(FEWEST, ANSWERS_PER_S * HANDING * left_s / rows))
        if self.limits.deadline_s > 2 * SHORT_S and rows > MANY_ROWS and columns > MANY_COLUMNS:
            mix = generator.thinned(mix, self._by(LAST))
        if len(mix.theta) > most * len(groups):
            mix = generator.heaviest(mix, most, KEPT * self.city.scale(generator.known_cny))
        return mix

    def _follow(self, mine: Mask, fleet: Sampled, handout: Handout, mix: Mix, center: FloatArray) -> None:
        """Hand out schedules near to what the groups ``mine`` do in the mix.

        At the centre's prices: those of a mix that misses a row are its penalty.
        """
        city, sample = self.city, fleet.sample
        columns = supports(sample.pool, mix.theta, len(sample.groups))
        self._remember(np.flatnonzero(mine).tolist(), sample, mix.theta)
        parts = [mixed(fleet.all[g], columns[g], sample.pool, mix.theta) for g in np.flatnonzero(mine).tolist()]
        parts.sort(key=lambda part: -city.blocks[part.block].pricer.work)  # the largest have the others after them
        handout.follow(parts, city.sweeper.points(center), FOLLOW_PER_KWH)

    def _give(
        self,
        mine: Mask,
        rows_of: Sequence[Shard],
        handout: Handout,
        generator: Generator,
        theta: FloatArray,
        *,
        portion: bool = False,
    ) -> Fixed:
        """Hand out what the groups ``mine`` do in the mix θ to ``rows_of`` them; all that is handed out by now.

        ``portion``: rows are many, and take one schedule each.
        """
        groups = np.flatnonzero(mine).tolist()
        self._remember(groups, generator, theta)
        handout.add(_parts(groups, rows_of, generator, theta, portion=portion))
        return self._handed_out(handout)

    def _generator(self, groups: Sequence[Shard]) -> Generator:
        city = self.city
        return Generator(
            city.rows,
            groups,
            city.sweeper,
            scale_of=city.scale,
            noise=NOISE_PER_KWH,
            tell=self.tell,
            fixed=self._kept,
        )


def _edge(group: Shard) -> tuple[int, int]:
    """Where a stratum begins."""
    return group.block, group.first


def _parts(
    groups: Sequence[int], rows_of: Sequence[Shard], generator: Generator, theta: FloatArray, *, portion: bool
) -> list[Part]:
    """What the rows of some groups do."""
    columns = supports(generator.pool, theta, len(generator.groups))
    blocks = generator.sweeper.blocks
    parts: list[Part] = []
    carry: dict[tuple[int, int], float] = {}
    for g in groups:
        group = rows_of[g]
        if not len(group):
            continue
        if blocks[group.block].pricer.mixing is not Mixing.NOT and not portion:
            parts.append(mixed(group, columns[g], generator.pool, theta))
            continue
        key = (group.block, group.zone)
        found, carry[key] = split(group, columns[g], generator.pool, theta, carry.get(key, 0.0))
        parts += found
    return parts
