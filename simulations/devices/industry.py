"""Non-continuous industry: shifts with a rhythm of their own, and one block of machines that can stand still.

A block runs down in some minutes, and up again; once stopped it stays stopped for its shortest time, and a process
phase that must not be broken (``locked``, by the dice) refuses the stop.  After its longest time it starts by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import normal, smooth, uniform


@dataclass(frozen=True)
class IndustryTruth:
    """True parameters, (n,) each.  ``shift_start_hour``/``shift_end_hour`` of the working day; hours of the block."""

    base_kw: FloatArray
    block_kw: FloatArray
    shift_start_hour: FloatArray
    shift_end_hour: FloatArray
    ramp_h: FloatArray
    shortest_h: FloatArray
    longest_h: FloatArray
    rest_h: FloatArray
    weekend_share: FloatArray


def shift_share(hour: float, start_hour: FloatArray, end_hour: FloatArray) -> FloatArray:
    """How much of the shift's power is up at a local hour, 0.25 at rest to 1, with half an hour of slope."""
    up = np.clip((hour - start_hour) / 0.5 + 0.5, 0, 1) * np.clip((end_hour - hour) / 0.5 + 0.5, 0, 1)
    wrapped = np.clip((end_hour - (hour + 24)) / 0.5 + 0.5, 0, 1)  # shifts that end after midnight
    break_dip = 0.06 * np.exp(-(((hour - 12.0) / 0.4) ** 2))
    return np.asarray(0.25 + 0.75 * np.maximum(up, wrapped) - break_dip)


class InterruptibleGroup(DeviceGroup):
    """Blocks of machines in factories."""

    kind = ResourceKind.INTERRUPTIBLE_LOAD

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: IndustryTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth
        self.running_share = np.ones(len(self))
        self.is_off = np.zeros(len(self), dtype=np.bool_)
        self.in_state_h = np.full(len(self), 24.0)
        self._locked = np.zeros(len(self), dtype=np.bool_)

    def own_kw(self, around: Surroundings) -> FloatArray:
        """Power of the whole factory if nothing is stopped, (n,)."""
        truth = self.truth
        shape = shift_share(around.hour, truth.shift_start_hour, truth.shift_end_hour)
        level = 1 + 0.05 * normal(self.keys, "day-level", around.day)
        level = level + 0.04 * smooth(self.keys, "wander", around.start_s, 1200)
        share = np.ones(len(self)) if around.workday else truth.weekend_share
        return np.asarray(np.maximum(truth.base_kw * shape * level * share, 0))

    def locked(self, around: Surroundings) -> NDArray[np.bool_]:
        """True where the process is in a phase that must not be broken, (n,): 3 % of half hours."""
        return np.asarray(uniform(self.keys, "process-lock", int(around.start_s // 1800)) < 0.03)

    def step(self, around: Surroundings) -> GroupReading:
        truth, hours, own = self.truth, around.hours, self.own_kw(around)
        order = self.orders.at(around.start_s)
        self._locked = self.locked(around)
        asked = ~np.isnan(order) & (order < own - 0.5 * np.minimum(truth.block_kw, own))
        may_stop = ~self.is_off & ~self._locked & (self.in_state_h >= truth.rest_h)
        must_start = self.is_off & (self.in_state_h >= truth.longest_h)
        may_start = self.is_off & (self.in_state_h >= truth.shortest_h)
        stops = asked & may_stop
        starts = must_start | (~asked & may_start)
        self.is_off = (self.is_off | stops) & ~starts
        self.in_state_h = np.where(stops | starts, 0.0, self.in_state_h) + hours
        reach = hours / truth.ramp_h
        goal = np.where(self.is_off, 0.0, 1.0)
        before = self.running_share
        self.running_share = before + np.clip(goal - before, -reach, reach)
        stopped_kw = truth.block_kw * (1 - 0.5 * (before + self.running_share))
        return self._reading(np.maximum(own - stopped_kw, 0.0))

    def objection(self, index: int, power_kw: float | None) -> str | None:
        if power_kw is not None and self._locked[index] and not self.is_off[index]:
            return "process phase must not be broken"
        return None
