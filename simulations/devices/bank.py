"""All devices of a simulated city side by side: stepped together, ordered one by one, recorded for the proof.

A bank is pure physics: no wire, no clock, no faults.  ``copy`` gives the same world with the same dice, so the day
without orders (the true counterfactual) is a copy stepped without them.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray, IntervalGrid
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.charger import ChargerGroup, EndedStay
from simulations.devices.dice import keys_of
from simulations.devices.sessions import Visit

World = Callable[[float, float], Surroundings]
"""The outside world between two POSIX seconds."""

RECORD_S = 300.0


@dataclass(frozen=True, slots=True)
class BankReading:
    """What a stretch of steps did, true values, (N,) each in the order of ``resource_ids``: power is the mean over the
    stretch, the others as they are at its end; NaN where a device has no such quantity.
    """

    power_kw: FloatArray
    energy_kwh: FloatArray
    temperature_celsius: FloatArray
    available: NDArray[np.bool_]


class DeviceBank:
    """N devices in groups; ``now`` is where their time stands."""

    def __init__(self, groups: Iterable[DeviceGroup], world: World, start: datetime) -> None:
        self.groups: tuple[DeviceGroup, ...] = tuple(groups)
        self.world = world
        self.now = start.astimezone(UTC)
        self.resource_ids: tuple[str, ...] = tuple(name for group in self.groups for name in group.resource_ids)
        self.row_of = {name: row for row, name in enumerate(self.resource_ids)}
        self._place = {name: (group, index) for group in self.groups for index, name in enumerate(group.resource_ids)}
        self._recorded: dict[int, FloatArray] = {}

    def __len__(self) -> int:
        return len(self.resource_ids)

    # ---- orders

    def command(
        self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime
    ) -> str | None:
        """Give one device an order; the device's own reason if it does not take it, else None (taken).

        After ``valid_until`` the device is its own master again; ``power_kw`` None makes it so from ``valid_from``.
        """
        group, index = self._place[resource_id]
        objection = group.objection(index, power_kw)
        if objection is None:
            group.orders.give(index, power_kw, valid_from.timestamp(), valid_until.timestamp(), self.now.timestamp())
        return objection

    # ---- time

    def advance(self, end: datetime, step_s: float = 60.0) -> BankReading:
        """Move all devices from ``now`` to ``end`` in steps of at most ``step_s`` that never cross a recording edge."""
        if end <= self.now:
            raise ValueError(f"end: must be later than {self.now.isoformat()} (got {end.isoformat()})")
        first, last = self.now.timestamp(), end.timestamp()
        total = np.zeros(len(self))
        at = first
        while at < last - 1e-6:
            edge = (np.floor(at / RECORD_S) + 1) * RECORD_S
            until = float(min(at + step_s, edge, last))
            around = self.world(at, until)
            readings = [group.step(around) for group in self.groups]
            energy = np.concatenate([reading.power_kw for reading in readings]) * ((until - at) / 3600)
            total += energy
            self._record(at, energy)
            at = until
        self.now = end.astimezone(UTC)
        return self._gathered(total / ((last - first) / 3600), readings)

    @staticmethod
    def _gathered(power_kw: FloatArray, readings: Sequence[GroupReading]) -> BankReading:
        return BankReading(
            power_kw,
            np.concatenate([reading.energy_kwh for reading in readings]),
            np.concatenate([reading.temperature_celsius for reading in readings]),
            np.concatenate([reading.available for reading in readings]),
        )

    def copy(self) -> "DeviceBank":
        """The same devices in the same state with the same dice; what was recorded so far stays behind."""
        kept, self._recorded = self._recorded, {}
        try:
            return copy.deepcopy(self, {id(self.world): self.world})
        finally:
            self._recorded = kept

    def throw_anew(self, seed: int) -> None:
        """Other dice for everything that happens from now on; what the devices are, and cars that are known to come,
        stay.
        """
        for group in self.groups:
            group.keys = keys_of(group.resource_ids, seed)

    # ---- what really was

    def _record(self, at_s: float, energy_kwh: FloatArray) -> None:
        slot = int(at_s // RECORD_S)
        kept = self._recorded.get(slot)
        if kept is None:
            self._recorded[slot] = energy_kwh.copy()
        else:
            kept += energy_kwh

    def true_power_kw(self, start: datetime, end: datetime) -> tuple[IntervalGrid, FloatArray]:
        """True mean power on the 5-minute grid of [start, end), (N, T); NaN where the bank was not stepped."""
        first, last = int(start.timestamp() // RECORD_S), int(np.ceil(end.timestamp() / RECORD_S))
        origin = datetime.fromtimestamp(first * RECORD_S, tz=UTC)
        grid = IntervalGrid.regular(origin, timedelta(seconds=RECORD_S), last - first)
        unknown = np.full(len(self), np.nan)
        columns = [self._recorded.get(slot, unknown) for slot in range(first, last)]
        return grid, np.column_stack(columns) / (RECORD_S / 3600)

    def forget_before(self, moment: datetime) -> None:
        """Drop what was recorded before ``moment``."""
        first = int(moment.timestamp() // RECORD_S)
        self._recorded = {slot: kept for slot, kept in self._recorded.items() if slot >= first}

    # ---- cars

    def visit_at(self, resource_id: str) -> Visit | None:
        """The car at a charger; None if there is none, or the device is no charger."""
        group, index = self._place[resource_id]
        return group.plugged[index] if isinstance(group, ChargerGroup) else None

    @property
    def charger_ids(self) -> tuple[str, ...]:
        """Ids of all chargers."""
        return tuple(name for group in self.groups if isinstance(group, ChargerGroup) for name in group.resource_ids)

    @property
    def ended_stays(self) -> list[EndedStay]:
        """Every stay that is over, as it really was."""
        return [stay for group in self.groups if isinstance(group, ChargerGroup) for stay in group.ended]

    def kind_of(self, resource_id: str) -> ResourceKind:
        """Kind of a device."""
        return self._place[resource_id][0].kind

    def class_of(self, resource_id: str) -> str:
        """Class of a device."""
        return self._place[resource_id][0].class_id
