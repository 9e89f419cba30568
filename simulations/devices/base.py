"""What all simulated devices share: surroundings, standing orders, readings, and the group they are stepped in.

Devices of one class are one group of arrays, (n,) each: twenty thousand air-conditioners cost a few array operations
a step.  Inside the physics time is POSIX seconds; power is kW, positive when consuming, the mean over a step.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.dice import Keys, keys_of


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One step of the outside world, the same for all devices of a city.

    ``hour``: local time of day in the middle of the step; ``day``: number of the local day; ``sun_fraction``: output
    of a clear sky relative to a plant's nameplate.
    """

    start_s: float
    end_s: float
    day: int
    hour: float
    workday: bool
    outdoor_celsius: float
    sun_fraction: float

    @property
    def hours(self) -> float:
        """Length of the step in hours."""
        return (self.end_s - self.start_s) / 3600


@dataclass(frozen=True, slots=True)
class GroupReading:
    """What a step did, true values, (n,) each; NaN where a device has no such quantity.

    ``power_kw`` mean over the step; ``energy_kwh`` as the device's own meter believes it, at the end.
    """

    power_kw: FloatArray
    energy_kwh: FloatArray
    temperature_celsius: FloatArray
    available: NDArray[np.bool_]


class Orders:
    """The standing order of every device of a group, and the one after it."""

    def __init__(self, count: int) -> None:
        self._power = np.full(count, np.nan)
        self._since = np.full(count, -np.inf)
        self._until = np.full(count, -np.inf)
        self._next_power = np.full(count, np.nan)
        self._next_since = np.full(count, np.inf)
        self._next_until = np.full(count, -np.inf)

    def give(self, index: int, power_kw: float | None, since_s: float, until_s: float, now_s: float) -> None:
        """Take an order; it replaces what was ordered for any time between its ends.  None releases."""
        power = np.nan if power_kw is None else power_kw
        if since_s <= now_s:
            self._power[index], self._since[index], self._until[index] = power, since_s, until_s
            if self._next_since[index] < until_s:
                self._next_since[index] = np.inf
        else:
            self._until[index] = min(self._until[index], since_s)
            self._next_power[index] = power
            self._next_since[index], self._next_until[index] = since_s, until_s

    def at(self, second: float) -> FloatArray:
        """Ordered power at an instant, (n,); NaN where no order holds: the device does as it likes."""
        due = self._next_since <= second
        if due.any():
            self._power[due], self._since[due] = self._next_power[due], self._next_since[due]
            self._until[due] = self._next_until[due]
            self._next_since[due] = np.inf
        return np.where((self._since <= second) & (second < self._until), self._power, np.nan)


class DeviceGroup(ABC):
    """Devices of one class, stepped together."""

    kind: ResourceKind

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int) -> None:
        self.class_id = class_id
        self.resource_ids = tuple(resource_ids)
        self.keys: Keys = keys_of(self.resource_ids, seed)
        self.orders = Orders(len(self.resource_ids))

    def __len__(self) -> int:
        return len(self.resource_ids)

    @abstractmethod
    def step(self, around: Surroundings) -> GroupReading:
        """Move all devices through one step; orders are those that hold at its start."""

    def objection(self, index: int, power_kw: float | None) -> str | None:
        """Why the device itself would not take this order now; None if it would."""
        del index, power_kw
        return None

    def _nothing(self) -> FloatArray:
        return np.full(len(self), np.nan)

    def _reading(
        self,
        power_kw: FloatArray,
        *,
        energy_kwh: FloatArray | None = None,
        temperature_celsius: FloatArray | None = None,
        available: NDArray[np.bool_] | None = None,
    ) -> GroupReading:
        return GroupReading(
            power_kw,
            self._nothing() if energy_kwh is None else energy_kwh,
            self._nothing() if temperature_celsius is None else temperature_celsius,
            np.ones(len(self), dtype=np.bool_) if available is None else available,
        )
