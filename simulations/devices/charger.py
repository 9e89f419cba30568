"""EV chargers: cars plug in and out, charge at once unless ordered otherwise, taper above 80 %, some feed back.

    p ≤ min(P, P_car) · min(1, max(0.12, (1 − soc)/0.20))       charging
    level' = η⁺ c − d/η⁻                                        at the battery

A car stops at the level its driver asked for.  Leaving time, need and battery come with the car (``sessions``), never
from the orders.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import between
from simulations.devices.sessions import Visit, visits


@dataclass(frozen=True)
class ChargerTruth:
    """True parameters, (n,) each; ``habit`` of those who come (``sessions``), ``per_day`` visits on average."""

    charge_limit_kw: FloatArray
    discharge_limit_kw: FloatArray
    charge_efficiency: FloatArray
    discharge_efficiency: FloatArray
    habit: FloatArray
    per_day: FloatArray


@dataclass(frozen=True, slots=True)
class EndedStay:
    """A stay that is over, as it really was: ``delivered_kwh`` at the battery, net of what was fed back."""

    resource_id: str
    visit: Visit
    delivered_kwh: float


class ChargerGroup(DeviceGroup):
    """Chargers of one class."""

    kind = ResourceKind.EV_SESSION

    def __init__(
        self, class_id: str, resource_ids: Sequence[str], seed: int, truth: ChargerTruth, utc_offset_s: float
    ) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth
        self.plugged: list[Visit | None] = [None] * len(self)
        self.coming: list[list[Visit]] = [[] for _ in range(len(self))]
        self.ended: list[EndedStay] = []
        self.level_kwh = np.zeros(len(self))
        self._visit_columns = np.zeros((6, len(self)))
        self._next_s = np.full(len(self), np.inf)
        self._known_until_day: int | None = None
        self._utc_offset_s = utc_offset_s
        self._meter_gain = between(self.keys, "charger-meter", 0.985, 1.015)

    def _expect(self, day: int) -> None:
        """Throw the visits of every day up to tomorrow."""
        first = day if self._known_until_day is None else self._known_until_day + 1
        for each in range(first, day + 1):
            midnight = each * 86400 - self._utc_offset_s
            for index, name in enumerate(self.resource_ids):
                self.coming[index].extend(
                    visits(
                        name,
                        self.keys[index : index + 1],
                        int(self.truth.habit[index]),
                        float(self.truth.per_day[index]),
                        float(self.truth.charge_limit_kw[index]),
                        each,
                        midnight,
                    )
                )
        for queue in self.coming:
            queue.sort(key=lambda visit: visit.arrival_s)
        self._known_until_day = day
        self._find_next()

    def _find_next(self) -> None:
        """When every charger next sees somebody come or go, so that most steps look at none."""
        for index, queue in enumerate(self.coming):
            self._look_at(index, queue)

    def _look_at(self, index: int, queue: list[Visit]) -> None:
        visit = self.plugged[index]
        self._next_s[index] = min(
            visit.leaves_s if visit is not None else np.inf, queue[0].arrival_s if queue else np.inf
        )

    def _come_and_go(self, start_s: float, end_s: float) -> None:
        for index in np.flatnonzero(self._next_s < end_s):
            visit = self.plugged[index]
            if visit is not None and visit.leaves_s <= start_s:
                delivered = float(self.level_kwh[index]) - visit.start_kwh
                self.ended.append(EndedStay(self.resource_ids[index], visit, delivered))
                self.plugged[index] = visit = None
                self._visit_columns[:, index] = 0
                self.level_kwh[index] = 0
            queue = self.coming[index]
            while queue and queue[0].arrival_s < end_s:
                arriving = queue.pop(0)
                if visit is None and arriving.leaves_s > start_s:  # else the place is taken, and the car drives on
                    self.plugged[index] = visit = arriving
                    self.level_kwh[index] = arriving.start_kwh
                    self._visit_columns[:, index] = (
                        arriving.arrival_s,
                        arriving.leaves_s,
                        arriving.capacity_kwh,
                        arriving.start_kwh + arriving.needed_kwh,
                        arriving.car_limit_kw,
                        arriving.start_kwh,
                    )
            self._look_at(int(index), queue)

    def step(self, around: Surroundings) -> GroupReading:
        if self._known_until_day is None or around.day > self._known_until_day:
            self._expect(around.day)
        self._come_and_go(around.start_s, around.end_s)
        truth = self.truth
        arrival, leaves, capacity, goal, car_limit, start_level = self._visit_columns
        present_s = np.minimum(leaves, around.end_s) - np.maximum(arrival, around.start_s)
        hours = np.clip(present_s, 0.0, None) / 3600 * (capacity > 0)
        soc = np.where(capacity > 0, self.level_kwh / np.maximum(capacity, 1e-9), 1.0)
        taper = np.clip((1 - soc) / 0.20, 0.12, 1.0)
        limit = np.minimum(truth.charge_limit_kw, car_limit) * taper
        order = self.orders.at(around.start_s)
        wanted = np.where(np.isnan(order), limit, np.clip(order, -truth.discharge_limit_kw, limit))
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(hours > 0, (goal - self.level_kwh) / (truth.charge_efficiency * hours), 0.0)
            stock = np.where(hours > 0, self.level_kwh * truth.discharge_efficiency / hours, 0.0)
        power = np.where(hours > 0, np.clip(wanted, -np.maximum(stock, 0), np.maximum(room, 0)), 0.0)
        charge, discharge = np.maximum(power, 0), np.maximum(-power, 0)
        gained = hours * (truth.charge_efficiency * charge - discharge / truth.discharge_efficiency)
        self.level_kwh = self.level_kwh + gained
        here = capacity > 0
        delivered = (self.level_kwh - start_level) * self._meter_gain
        feeds_back = truth.discharge_limit_kw > 0
        believed = np.where(feeds_back, np.clip(self.level_kwh, 0, capacity), np.maximum(delivered, 0))
        mean_kw = power * hours / around.hours
        return self._reading(mean_kw, energy_kwh=np.where(here, believed, np.nan))

    def objection(self, index: int, power_kw: float | None) -> str | None:
        if power_kw is not None and self.plugged[index] is None and power_kw != 0:
            return "no car plugged in"
        return None
