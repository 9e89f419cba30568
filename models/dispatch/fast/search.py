"""The search: first a centre with its bound, then one schedule for every row.

*Centre.*  A large fleet is first asked in a sample, each row standing for many; where its mix uses a column, the whole
fleet is asked.  Few proximal rounds over the whole fleet are left to do.

*Handing out*, so that each makes good what the ones before could not keep: who takes one of its group's schedules
(all that switches; large units among them), then, after a new mix of the others, who mixes by level, then by power.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.dispatch.fast.allocation import Part, mixed, split, supports
from models.dispatch.fast.certificate import Bound, bound_of
from models.dispatch.fast.city import City
from models.dispatch.fast.generation import Fixed, Generator, rows_cost
from models.dispatch.fast.handout import Handout
from models.dispatch.fast.master import Mix
from models.dispatch.fast.mixing import Mixing
from models.dispatch.fast.shards import Shard, sample_of, strata_of
from models.intervals import FloatArray

SAMPLE_ROWS = 60_000
"""Rows of the sample; fleets of less than twice as many are solved without one."""
LEAST_ROWS = 8
"""Rows of a stratum in the sample at least."""
APPROACH = 40
"""Proximal rounds at most."""
HOPE = 0.3
"""What the master may still hope for at the end of them, as a part of the gap asked for."""
ENOUGH = 0.3
"""How near to its bound a mix must come, as a part of the gap asked for."""
FIRST = 2
"""Mixes before those who take one schedule take it."""
ROUNDS = 20
"""Mixes at most after that."""
SETTLING = 3
"""Mixes at most while those who mix by power make good the rest."""
KEPT = 1e-6
"""Slacks that cost less than this part of the gap's scale are nothing."""
NOISE_PER_KWH = 2e-5
"""Spread of the tiny price by which rows with equal choices differ, CNY per kWh."""
NEAR, SEARCH, SETTLE = 0.55, 0.7, 0.85
"""Parts of the deadline by which centre, search and allocation stop; the rest is for handing out."""


@dataclass(frozen=True)
class Limits:
    """When the search began (``time.monotonic``), how long it may take, and the gap it is for."""

    began: float
    deadline_s: float
    gap: float

    def by(self, part: float) -> float:
        """The moment when a part of the deadline is over."""
        return self.began + part * self.deadline_s


@dataclass(frozen=True)
class Center:
    """The best centre, its bound, and the whole fleet's columns."""

    bound: Bound
    whole: Generator


@dataclass
class Search:
    """One search; ``facts``: how it went.  ``tell`` and ``mark`` hear of it."""

    city: City
    limits: Limits
    tell: Callable[[str], None]
    mark: Callable[[str], None]
    facts: dict[str, float] = field(default_factory=dict)

    def find_center(self, start: FloatArray | None) -> Center:
        """A centre near to the best, from duals ``start`` (N,) of the last plan or from nothing."""
        city, gap = self.city, self.limits.gap
        strata = strata_of(city.blocks)
        rows = sum(len(group) for group in strata)
        whole, until = self._generator(strata), self.limits.by(NEAR)
        center = start
        if rows > 2 * SAMPLE_ROWS:
            sample = self._generator(sample_of(strata, max(LEAST_ROWS, SAMPLE_ROWS // len(strata))))
            sample.stand_for(whole)
            center = sample.steer(until) if center is None else center
            center, _ = sample.approach(center, until=until, rounds=APPROACH, enough=HOPE * gap)
            enough_cny = ENOUGH * gap * city.scale(sample.known_cny)
            mix = sample.blend(center, until=until, rounds=3, enough_cny=enough_cny, bound_cny=sample.known_cny)
            whole.seed(sample.pool, sample.corner(mix).theta)
            self.facts["sample_passes"] = sample.passes
            self.mark("sample")
        elif center is None:
            center = whole.steer(until)
        center, columns = whole.approach(center, until=until, rounds=APPROACH, enough=HOPE * gap)
        bound = bound_of(city.rows, columns, center, city.blocks, city.sweeper)
        self.facts |= {"rows": float(rows), "groups": float(len(strata)), "coupling_rows": float(len(city.rows.t))}
        self.mark("centre")
        return Center(bound, whole)

    def hand_out(self, center: Center) -> Handout:
        """One schedule for every row."""
        city, until, duals = self.city, self.limits.by(SEARCH), center.bound.duals
        handout = Handout(city.problem, city.blocks, city.sweeper)
        generator = center.whole
        scale_cny = city.scale(generator.known_cny)
        enough = {"enough_cny": ENOUGH * self.limits.gap * scale_cny, "bound_cny": generator.known_cny}
        mix = generator.blend(duals, until=until, rounds=FIRST, **enough)
        self.facts["mix_gap"] = (mix.cost_cny - center.bound.value_cny) / scale_cny
        generator = self._give(Mixing.NOT, handout, generator, mix)
        if generator.groups:
            mix = generator.corner(generator.blend(duals, until=until, rounds=ROUNDS, **enough))
            generator = self._give(Mixing.BY_LEVEL, handout, generator, mix)
            self.mark("mix")
        if generator.groups:
            self._give(Mixing.BY_POWER, handout, generator, self._settled(generator, duals, KEPT * scale_cny))
        handout.finish()
        self.facts |= {"passes": center.whole.passes, "columns": float(len(center.whole.pool))}
        self.mark("allocation")
        return handout

    def _settled(self, generator: Generator, center: FloatArray, enough_cny: float) -> Mix:
        """The best mix with what is handed out; new columns as long as slacks cost more than ``enough_cny``."""
        mix = generator.settled()
        for _ in range(SETTLING):
            if rows_cost(self.city.rows, mix.values) <= enough_cny or time.monotonic() > self.limits.by(SETTLE):
                break
            generator.between(center, generator.tame(mix.duals, center))
            mix = generator.settled()
        return mix

    def _give(self, how: Mixing, handout: Handout, generator: Generator, mix: Mix) -> Generator:
        """Hand out what rows that mix like this do; the generator of the others."""
        blocks = self.city.blocks
        mine = np.array([blocks[group.block].pricer.mixing is how for group in generator.groups])
        if mine.any():
            handout.add(_parts(how, np.flatnonzero(mine).tolist(), generator, mix.theta))
        values = self.city.rows.values(handout.zone_kw, handout.class_kw) - self.city.rows.constant
        return generator.restricted(np.flatnonzero(~mine), Fixed(values, handout.cost_cny))

    def _generator(self, groups: Sequence[Shard]) -> Generator:
        city = self.city
        return Generator(city.rows, groups, city.sweeper, scale_of=city.scale, noise=NOISE_PER_KWH, tell=self.tell)


def _parts(how: Mixing, groups: Sequence[int], generator: Generator, theta: FloatArray) -> list[Part]:
    """What the rows of some groups do."""
    columns = supports(generator.pool, theta, len(generator.groups))
    parts: list[Part] = []
    carry: dict[tuple[int, int], float] = {}
    for g in groups:
        group = generator.groups[g]
        if how is not Mixing.NOT:
            parts.append(mixed(group, columns[g], generator.pool, theta))
            continue
        key = (group.block, group.zone)
        found, carry[key] = split(group, columns[g], generator.pool, theta, carry.get(key, 0.0))
        parts += found
    return parts
