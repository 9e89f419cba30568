"""Shiftable processes: pumping to a reservoir (any power between limits) and batches (one run that is not broken).

The day's work is a fixed energy inside a window.  Undispatched it begins at the preferred time at full power.  Ordered,
a pump follows; a batch starts when ordered above zero and then runs through.  Either starts by itself when the window
would otherwise be too short, so the work is always done.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import normal


@dataclass(frozen=True)
class ProcessTruth:
    """True parameters, (n,) each; hours are local times of day; ``is_batch``: 1 where the run is not broken."""

    power_kw: FloatArray
    energy_kwh: FloatArray
    window_start_hour: FloatArray
    window_end_hour: FloatArray
    preferred_hour: FloatArray
    is_batch: FloatArray


class ProcessGroup(DeviceGroup):
    """Pumps and batches."""

    kind = ResourceKind.SHIFTABLE_LOAD

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: ProcessTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth
        self.done_kwh = np.zeros(len(self))
        self.has_begun = np.zeros(len(self), dtype=np.bool_)
        self._day: int | None = None

    def step(self, around: Surroundings) -> GroupReading:
        truth, hours, hour = self.truth, around.hours, around.hour
        if around.day != self._day:
            self._day = around.day
            self.done_kwh = np.zeros(len(self))
            self.has_begun = np.zeros(len(self), dtype=np.bool_)
        work = truth.energy_kwh * (1 + 0.02 * normal(self.keys, "day-work", around.day))
        left = np.maximum(work - self.done_kwh, 0.0)
        inside = (hour >= truth.window_start_hour) & (hour < truth.window_end_hour) & (left > 0)
        order = self.orders.at(around.start_s)
        hurry = (truth.window_end_hour - hour - 0.1) * truth.power_kw <= left
        own = np.where(hour >= truth.preferred_hour, truth.power_kw, 0.0)
        wanted = np.where(np.isnan(order), own, np.clip(order, 0.0, truth.power_kw))
        wanted = np.where(hurry | ((truth.is_batch > 0) & self.has_begun), truth.power_kw, wanted)
        wanted = np.where((truth.is_batch > 0) & (wanted > 0.05 * truth.power_kw), truth.power_kw, wanted)
        power = np.where(inside, np.minimum(wanted, left / hours), 0.0)
        self.done_kwh = self.done_kwh + power * hours
        self.has_begun = self.has_begun | (power > 0)
        return self._reading(power, energy_kwh=self.done_kwh.copy())

    def objection(self, index: int, power_kw: float | None) -> str | None:
        running = self.has_begun[index] and self.done_kwh[index] < 0.98 * self.truth.energy_kwh[index]
        stops = power_kw is not None and power_kw < 0.5 * self.truth.power_kw[index]
        if self.truth.is_batch[index] and running and stops:
            return "a batch that has begun is not broken"
        return None
