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
    """The order of every device of a group that holds now, and those for later: of one time, the newest."""

    PLACES = 3
    """So many orders a device remembers: for this stretch, for the next, and for when it hears nothing more."""

    def __init__(self, count: int) -> None:
        self._power = np.full((self.PLACES, count), np.nan)
        self._since = np.full((self.PLACES, count), np.inf)
        self._until = np.full((self.PLACES, count), -np.inf)

    def give(self, index: int, power_kw: float | None, since_s: float, until_s: float, now_s: float) -> None:
        """Take an order; it replaces what was ordered for any time between its ends.  None releases.

        An order that began before it ends where it begins and does not come back after it.
        """
        columns = self._since[:, index], self._until[:, index], self._power[:, index]
        held = [(since, until, kw) for since, until, kw in zip(*columns, strict=True) if until > max(since, now_s)]
        earlier = [(since, min(until, since_s), kw) for since, until, kw in held if since < since_s]
        later = [each for each in held if each[0] >= until_s]
        orders = [*earlier, (since_s, until_s, np.nan if power_kw is None else power_kw), *later]
        orders = sorted(each for each in orders if each[1] > now_s)[: self.PLACES]
        orders += [(np.inf, -np.inf, np.nan)] * (self.PLACES - len(orders))
        self._since[:, index], self._until[:, index], self._power[:, index] = zip(*orders, strict=True)

    def at(self, second: float) -> FloatArray:
        """Ordered power at an instant, (n,); NaN where no order holds: the device does as it likes."""
        holds = (self._since <= second) & (second < self._until)
        ordered_kw = np.where(holds, self._power, 0.0).sum(axis=0)
        return np.where(holds.any(axis=0), ordered_kw, np.nan)


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
