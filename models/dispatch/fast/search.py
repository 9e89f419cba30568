"""The search: first a centre with its bound, then one schedule for every row.

*Centre.*  A large fleet is first asked in a sample, each row standing for many; where its mix uses a column, the whole
fleet is asked.  Few proximal rounds over the whole fleet are left to do.

*Handing out*, so that each makes good what the ones before could not keep: what switches takes one of its group's
schedules, and a new centre is looked for beside it (a pump of 24 MW in a zone that moves 70 MW cannot be made good at
the old one); then who mixes by level, then by power.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.allocation import Part, mixed, split, supports
from models.dispatch.fast.certificate import Bound, bound_of
from models.dispatch.fast.city import City
from models.dispatch.fast.generation import Fixed, Generator, rows_cost
from models.dispatch.fast.handout import Handout
from models.dispatch.fast.master import Mix
from models.dispatch.fast.mixing import Mixing
from models.dispatch.fast.shards import Shard, sample_of, strata_of
from models.dispatch.fast.sweeps import Columns
from models.intervals import FloatArray

Mask = NDArray[np.bool_]

SAMPLE_ROWS = 150_000
"""Rows of the sample; fleets of less than twice as many are solved without one."""
LEAST_ROWS = 8
"""Rows of a stratum in the sample at least."""
APPROACH = 40
"""Proximal rounds at most."""
HOPE, ROUGHLY = 0.3, 3.0
"""What the master may still hope for at the end of them, as a part of the gap asked for; of a sample, so much more."""
ENOUGH = 0.3
"""How near to its bound a mix must come, as a part of the gap asked for."""
SEEDS = 2
"""Columns of a group's mix in the sample, the heaviest, at which the whole fleet is asked first."""
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
NEAR, AGAIN, SEARCH, SETTLE = 0.53, 0.66, 0.77, 0.85
"""Parts of the deadline by which the centre, that of the rest, the search and the allocation stop."""


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
    """The best centre's bound, and the whole fleet's columns."""

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
        city = self.city
        strata = strata_of(city.blocks)
        rows = sum(len(group) for group in strata)
        self.facts |= {"rows": float(rows), "groups": float(len(strata)), "coupling_rows": float(len(city.rows.t))}
        whole, until = self._generator(strata), self.limits.by(NEAR)
        if rows > 2 * SAMPLE_ROWS:
            sample = self._generator(sample_of(strata, max(LEAST_ROWS, SAMPLE_ROWS // len(strata))))
            sample.stand_for(whole)
            center = sample.steer(until) if start is None else start
            center, _ = self._approach(sample, center, NEAR, ROUGHLY * HOPE)
            whole.seed(sample.pool, self._blend(sample, center, 1).theta, SEEDS)
            self.facts["sample_passes"] = sample.passes
            self.mark("sample")
        else:
            center = whole.steer(until) if start is None else start
        center, answers = self._approach(whole, center, NEAR)
        bound = bound_of(city.rows, answers, center)
        self.mark("centre")
        return Center(bound, whole)

    def hand_out(self, center: Center) -> Handout:
        """One schedule for every row."""
        city, duals, rest = self.city, center.bound.duals, center.whole
        handout = Handout(city.problem, city.blocks, city.sweeper)
        switches = self._mix(rest, Mixing.NOT)
        mix = self._blend(rest, duals, FIRST if switches.any() else ROUNDS)
        self.facts["mix_gap"] = (mix.cost_cny - center.bound.value_cny) / city.scale(mix.cost_cny)
        if switches.any():
            # a mix in a corner has less to round, but takes seconds: what the others then make good is worth more
            late = time.monotonic() > self.limits.by(NEAR)
            rest = self._give(switches, handout, rest, mix if late else rest.corner(mix))
            self.mark("switching")
        if switches.any() and rest.groups:
            duals, _ = self._approach(rest, duals, AGAIN)
            mix = self._blend(rest, duals, ROUNDS)
        self.mark("mix")
        by_level = self._mix(rest, Mixing.BY_LEVEL)
        if by_level.any():
            rest = self._give(by_level, handout, rest, rest.corner(mix))
            mix = self._blend(rest, duals, SETTLING, SETTLE) if rest.groups else mix
        if rest.groups:
            self._give(np.ones(len(rest.groups), dtype=np.bool_), handout, rest, self._settled(rest, mix, duals))
        handout.finish()
        self.facts |= {"passes": rest.passes, "sweeps_s": rest.seconds["sweeps"], "master_s": rest.seconds["master"]}
        self.mark("allocation")
        return handout

    def _approach(
        self, generator: Generator, center: FloatArray, part: float, hope: float = HOPE
    ) -> tuple[FloatArray, Columns]:
        until = self.limits.by(part)
        return generator.approach(center, until=until, rounds=APPROACH, enough=hope * self.limits.gap)

    def _blend(self, generator: Generator, center: FloatArray, rounds: int, part: float = SEARCH) -> Mix:
        enough_cny = ENOUGH * self.limits.gap * self.city.scale(generator.known_cny)
        return generator.blend(center, until=self.limits.by(part), rounds=rounds, enough_cny=enough_cny)

    def _mix(self, generator: Generator, how: Mixing) -> Mask:
        blocks = self.city.blocks
        return np.array([blocks[group.block].pricer.mixing is how for group in generator.groups], dtype=np.bool_)

    def _settled(self, generator: Generator, mix: Mix, center: FloatArray) -> Mix:
        """The best mix with few columns; new ones as long as slacks cost something."""
        nothing_cny = KEPT * self.city.scale(generator.known_cny)
        mix = generator.corner(mix)
        for _ in range(SETTLING):
            if rows_cost(self.city.rows, mix.values) <= nothing_cny or time.monotonic() > self.limits.by(SETTLE):
                break
            generator.between(center, generator.tame(mix.duals, center))
            mix = generator.settled()
        return mix

    def _give(self, mine: Mask, handout: Handout, generator: Generator, mix: Mix) -> Generator:
        """Hand out what the groups ``mine`` do in the mix; the generator of the others."""
        if not mine.any():
            return generator
        rows, cost_cny = self.city.rows, handout.cost_cny
        before = rows.values(handout.zone_kw, handout.class_kw)
        handout.add(_parts(np.flatnonzero(mine).tolist(), generator, mix.theta))
        gained = rows.values(handout.zone_kw, handout.class_kw) - before
        old = generator.fixed
        fixed = Fixed(old.values + gained, old.cost_cny + handout.cost_cny - cost_cny)
        return generator.restricted(np.flatnonzero(~mine), fixed)

    def _generator(self, groups: Sequence[Shard]) -> Generator:
        city = self.city
        return Generator(city.rows, groups, city.sweeper, scale_of=city.scale, noise=NOISE_PER_KWH, tell=self.tell)


def _parts(groups: Sequence[int], generator: Generator, theta: FloatArray) -> list[Part]:
    """What the rows of some groups do."""
    columns = supports(generator.pool, theta, len(generator.groups))
    blocks = generator.sweeper.blocks
    parts: list[Part] = []
    carry: dict[tuple[int, int], float] = {}
    for g in groups:
        group = generator.groups[g]
        if blocks[group.block].pricer.mixing is not Mixing.NOT:
            parts.append(mixed(group, columns[g], generator.pool, theta))
            continue
        key = (group.block, group.zone)
        found, carry[key] = split(group, columns[g], generator.pool, theta, carry.get(key, 0.0))
        parts += found
    return parts
