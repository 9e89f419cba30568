"""Backup sets behind the meter: a delay before the engine carries load, a ramp, a minimum load, and failed starts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import smooth, uniform

FAILED_START_SHARE = 0.03
RETRY_S = 600.0


@dataclass(frozen=True)
class GeneratorTruth:
    """True parameters, (n,) each."""

    power_min_kw: FloatArray
    power_max_kw: FloatArray
    start_delay_s: FloatArray
    ramp_kw_per_h: FloatArray


class GeneratorGroup(DeviceGroup):
    """Diesel and gas backup sets."""

    kind = ResourceKind.GENERATOR

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: GeneratorTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth
        self.output_kw = np.zeros(len(self))
        self.ready_at_s = np.full(len(self), np.inf)
        self.blocked_until_s = np.full(len(self), -np.inf)
        self.failed_starts = 0
        self._is_blocked = np.zeros(len(self), dtype=np.bool_)

    def step(self, around: Surroundings) -> GroupReading:
        truth, now = self.truth, around.start_s
        order = self.orders.at(now)
        asked = np.where(np.isnan(order), 0.0, np.maximum(-order, 0.0))
        wanted = asked >= 0.5 * truth.power_min_kw
        idle = np.isinf(self.ready_at_s)
        tries = wanted & idle & (self.blocked_until_s <= now)
        fails = tries & (uniform(self.keys, "start", int(now // RETRY_S)) < FAILED_START_SHARE)
        self.failed_starts += int(fails.sum())
        self.blocked_until_s = np.where(fails, now + RETRY_S, self.blocked_until_s)
        self.ready_at_s = np.where(tries & ~fails, now + truth.start_delay_s, self.ready_at_s)
        self.ready_at_s = np.where(wanted, self.ready_at_s, np.inf)
        carrying_h = np.clip(around.end_s - np.maximum(self.ready_at_s, now), 0, None) / 3600
        carries = carrying_h > 0
        goal = np.where(carries, np.clip(asked, truth.power_min_kw, truth.power_max_kw), 0.0)
        reach = truth.ramp_kw_per_h * np.where(wanted, carrying_h, around.hours)
        before = np.where(carries & (self.output_kw == 0), np.minimum(truth.power_min_kw, goal), self.output_kw)
        after = before + np.clip(goal - before, -reach, reach)
        self.output_kw = np.where(carries | (after >= truth.power_min_kw), after, 0.0)
        share = np.where(carries, carrying_h / around.hours, 1.0)
        governor = 1 + 0.01 * smooth(self.keys, "governor", now, 600)
        power = -0.5 * (np.where(carries, before, self.output_kw) + self.output_kw) * share * governor
        self._is_blocked = self.blocked_until_s > around.end_s
        return self._reading(power, available=~self._is_blocked)

    def objection(self, index: int, power_kw: float | None) -> str | None:
        if power_kw is not None and self._is_blocked[index]:
            return "start failed, next try in a few minutes"
        return None
