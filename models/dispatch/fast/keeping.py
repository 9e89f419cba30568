"""Keeping to the plan: what there is time for where a large fleet has a plan and a deadline is short.

Everybody follows the plan as far as its state lets it, but for a few of every stratum whose schedules mix.  What those
must make good is known exactly, and what is looked for is small.  If it is out of their reach, everybody is asked.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.dispatch.fast.city import City
from models.dispatch.fast.generation import Generator
from models.dispatch.fast.mixing import Mixing
from models.dispatch.fast.shards import Shard
from models.dispatch.fast.sweeps import Point

HURRIED_S, HURRIED_ROWS_PER_S = 11.0, 75_000.0
"""Seconds, and rows a second beyond them, in which the portions of a fleet come to something: with a plan and less time
most rows keep to it."""
MOVING_ROWS, MOVING_ROWS_PER_S = 200_000, 7_000.0
"""Rows that do not, at most, and for every second of the deadline."""
LEAST_ROWS = 8
"""Of a stratum at least."""
IN_REACH, CITY_IN_REACH = 1.0, 30.0
"""What these can make good in a row: so often what is large for it, and for one over the city (a tenth of theirs)."""


def _moving_rows(deadline_s: float) -> float:
    return min(MOVING_ROWS, MOVING_ROWS_PER_S * deadline_s)


def in_a_hurry(city: City, strata: Sequence[Shard], deadline_s: float) -> bool:
    """Whether there is a plan, and no time to ask what all could do better."""
    rows = sum(len(group) for group in strata)
    mixes = sum(len(group) for group in strata if not _switches(city, group))
    late = deadline_s < HURRIED_S + rows / HURRIED_ROWS_PER_S
    return late and mixes > 2 * _moving_rows(deadline_s) and city.sweeper.near_a_plan


def divided(city: City, strata: Sequence[Shard], deadline_s: float) -> tuple[list[Shard], list[Shard]]:
    """Those of every stratum who keep to the plan (all that switch), and those who may do something else."""
    mixes = sum(len(group) for group in strata if not _switches(city, group))
    share = _moving_rows(deadline_s) / mixes
    keeping, moving = [], []
    for group in strata:
        most = 0 if _switches(city, group) else max(LEAST_ROWS, math.ceil(share * len(group)))
        edge = min(group.last, group.first + most)
        keeping += [replace(group, first=edge)] if edge < group.last else []
        moving += [replace(group, last=edge)] if edge > group.first else []
    return keeping, moving


def within_reach(city: City, moving: Generator) -> tuple[bool, float]:
    """Whether the rows ``moving`` can make good what all miss who follow the plan, and how much of what they can it is.

    ``moving``: beside what the others do.  A new event, or a limit that is half of what it was, takes everybody.
    """
    planned = city.sweeper.planned(moving.groups)
    nowhere = Point(np.empty(0), np.empty(0))
    moving.pool.add(np.arange(len(moving.groups)), planned, [nowhere] * len(moving.groups))
    missed = moving.values(planned) / moving.size_kw()
    part = float((missed / np.where(city.rows.zone == -1, CITY_IN_REACH, IN_REACH)).max(initial=0.0))
    return part <= 1.0, part


def _switches(city: City, group: Shard) -> bool:
    return city.blocks[group.block].pricer.mixing is Mixing.NOT
