"""Photovoltaic plants under a sky with clouds; an order caps the output."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import smooth, uniform


@dataclass(frozen=True)
class PvTruth:
    """True parameters, (n,): ``yield_kw`` under a clear noon sky (dust, tilt and heat included)."""

    yield_kw: FloatArray


class PvGroup(DeviceGroup):
    """Roof-top plants."""

    kind = ResourceKind.PV

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: PvTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth

    def available_kw(self, around: Surroundings) -> FloatArray:
        """What the sun gives, kW ≥ 0, (n,): clouds wander over half hours, days differ."""
        day = 0.06 * (uniform(self.keys, "haze", around.day) - 0.5)
        clouds = 0.90 + day + 0.10 * smooth(self.keys, "clouds", around.start_s, 1500)
        return self.truth.yield_kw * around.sun_fraction * np.clip(clouds, 0.1, 1.0)

    def step(self, around: Surroundings) -> GroupReading:
        available = self.available_kw(around)
        order = self.orders.at(around.start_s)
        cap = np.where(np.isnan(order), np.inf, np.maximum(-order, 0.0))
        return self._reading(-np.minimum(available, cap))
