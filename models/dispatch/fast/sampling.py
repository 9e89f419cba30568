"""A large fleet behind a sample of it: the first rows of every stratum stand for those who have no schedule yet.

The other rows are handed out in portions, the largest first.  After each one its true sums are known, the sample
stands for less, and what it misjudged is made good by those who are left.  The last portion is the sample itself, of
which nothing has to be guessed.  So a fleet of any size needs few sweeps: one for each bound, one for handing out.

What the sample says is corrected by a control variate: the answers of all at one λ, which the bound needs anyway, or,
in real time, the last plan.  It must be fair only about what its rows do differently at other prices, or beside their
plan; and there they are asked to stay steady, because a sample says little about who moves for next to nothing.

Source: W. Cochran, Sampling Techniques (3rd ed. 1977) ch. 5 (strata), 7 (regression and difference estimators).
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.generation import Fixed, Generator
from models.dispatch.fast.shards import Shard
from models.dispatch.fast.sweeps import Columns
from models.intervals import FloatArray

SECOND = 0.2
"""Part of the rows outside the sample that are handed out second; the others are first."""


class Sampled:
    """A fleet in portions: number 0 is the sample, the last ones are handed out first.

    ``sample``: the generator in which every row of the sample stands for all of its stratum that are left.
    """

    def __init__(self, strata: Sequence[Shard], most: int, make: Callable[[Sequence[Shard]], Generator]) -> None:
        """``most``: rows of a stratum in the sample; ``make``: a generator over shards."""
        firsts, ends = (np.array([getattr(group, edge) for group in strata]) for edge in ("first", "last"))
        sampled = np.minimum(ends, firsts + most)
        edges = [firsts, sampled]
        if (sampled < ends).any():
            edges += [sampled + np.round(SECOND * (ends - sampled)).astype(np.int64), ends]
        self._portions = [
            make([replace(group, first=a, last=b) for group, a, b in zip(strata, *pair, strict=True)])
            for pair in itertools.pairwise([edge.tolist() for edge in edges])
        ]
        self.sample = self._portions[0] if self.whole else make(self._standing())
        self._gone: list[Generator] = []
        self._given = self.sample.fixed
        self._answers: list[Columns] = []
        self._asked = np.empty(0)
        self._planned: list[Columns] = []

    @property
    def whole(self) -> bool:
        """Whether the sample is all that is left."""
        return len(self._portions) == 1

    @property
    def last(self) -> list[Shard]:
        """The rows of every group in the last portion."""
        return self._portions[-1].groups

    @property
    def all(self) -> list[Shard]:
        """The rows of every group that are left."""
        ends = self._portions[-1].groups
        return [replace(group, last=end.last) for group, end in zip(self._portions[0].groups, ends, strict=True)]

    def glance(self, duals: FloatArray) -> None:
        """Correct the sample by what a part of those who are left do at λ (N,): a cheap look, without a bound."""
        first, *others = self._portions
        self._answers, self._asked = [first.at(duals)], duals
        if others:
            asked = others[0].at(duals)
            known = np.maximum(1.0, _sizes(others[0]))
            self._answers += [asked.times(_sizes(portion) / known) for portion in others]
        self._correct(self._given)

    def recollect(self, steady_per_kwh: float) -> None:
        """Correct the sample by what the last plan says about all who are left; its rows stay steady."""
        self.sample.steady = steady_per_kwh
        self._planned = [portion.sweeper.planned(portion.groups) for portion in self._portions]
        self._correct(self._given)

    def look(self, duals: FloatArray) -> Columns:
        """What everybody does at λ (N,), part by part; the sample is corrected by those who are left.

        Before the first portion is handed out.
        """
        self._answers, self._asked = [portion.at(duals) for portion in self._portions], duals
        self._correct(self._given)
        answers = [*self._answers, *(gone.at(duals) for gone in self._gone)]
        return _beside(answers)

    @property
    def planned(self) -> bool:
        """Whether the last plan corrects the sample, so that it need not know what all answer."""
        return bool(self._planned)

    def without(self, groups: NDArray[np.bool_], given: Fixed) -> None:
        """All rows of ``groups`` (G,) are handed out: with what was before, that is what is ``given``."""
        kept = np.flatnonzero(~groups)
        self.sample = self.sample.restricted(kept, given)
        if self.whole:
            self._portions = [self.sample]
        else:
            self._given = given
            nothing = Fixed(np.zeros_like(given.values), 0.0)
            self._gone += [portion.restricted(np.flatnonzero(groups), nothing) for portion in self._portions]
            self._portions = [portion.restricted(kept, nothing) for portion in self._portions]
            self._answers = [each.of(kept) for each in self._answers]
            self._planned = [each.of(kept) for each in self._planned]
            self._correct(given)

    def without_last(self, given: Fixed) -> None:
        """The last portion is handed out: with what was before, that is what is ``given``."""
        del self._portions[-1], self._answers[-1:], self._planned[-1:]
        weight = np.array([group.weight for group in self._standing()])
        self.sample = self.sample.weighted(weight, given)
        if self.whole:
            self._portions = [self.sample]
        else:
            self._correct(given)

    def _standing(self) -> list[Shard]:
        """The sample's rows, each standing for more."""
        left = np.sum([[len(group) for group in portion.groups] for portion in self._portions], axis=0)
        groups = self._portions[0].groups
        weights = left / np.maximum(1, [len(group) for group in groups])
        return [replace(group, weight=weight) for group, weight in zip(groups, weights.tolist(), strict=True)]

    def _correct(self, given: Fixed) -> None:
        """Let the sample be right about those who are left: in their plan, if there is one, else where asked."""
        if self._planned:
            everybody, own = self._planned, self._planned[0].times(np.array([g.weight for g in self.sample.groups]))
        else:
            everybody, own = self._answers, self.sample.at(self._asked)
        off = functools.reduce(Columns.plus, [*everybody, own.negative()])
        self.sample.fixed = Fixed(given.values + self.sample.effect(off), given.cost_cny + float(off.cost_cny.sum()))


def _beside(parts: Sequence[Columns]) -> Columns:
    """The columns of several parts of a fleet, one after the other."""
    names = ("power_kw", "classed_kw", "least_cny", "cost_cny")
    return Columns(*(np.concatenate([getattr(each, name) for each in parts]) for name in names))


def _sizes(portion: Generator) -> FloatArray:
    return np.array([len(group) for group in portion.groups], dtype=np.float64)
