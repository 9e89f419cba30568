"""What goes wrong with devices, by seed: refusal, silence, lateness, stuck meters.

Some of it happens all the time (shares below); the rest is planned, such as a tenth of the fleet falling silent in the
middle of an event.  Nothing here depends on commands, so the counterfactual meets the same faults.  What goes wrong on
the wire stands in ``simulations.wire_faults``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from simulations.devices.dice import between, keys_of, uniform

Flags = NDArray[np.bool_]

REFUSAL_SLOT_S = 3600
LATENESS_SLOT_S = 900
SKEW = timedelta(minutes=12, seconds=20)
"""No multiple of how often devices report: a clock that is set back again would name moments that it has named before,
and a reading is one by its device and its moment.
"""


class FaultKind(StrEnum):
    """``silent``: nothing comes, nothing gets through.  ``mute``: commands get through, readings do not come.
    ``refuse``: commands are refused.  ``late``: answers and readings a minute late.  ``stuck``: the meter repeats
    itself.  ``ignore``: commands are said to be taken, and nothing is done.  ``partial``: half of what was ordered is
    done.  ``reversed``: the meter is wired the wrong way round.  ``megawatt``: it says megawatts.  ``slow_clock``,
    ``fast_clock``: the device's clock is ``SKEW`` behind or ahead.
    """

    SILENT = "silent"
    MUTE = "mute"
    REFUSE = "refuse"
    LATE = "late"
    STUCK = "stuck"
    IGNORE = "ignore"
    PARTIAL = "partial"
    REVERSED = "reversed"
    MEGAWATT = "megawatt"
    SLOW_CLOCK = "slow_clock"
    FAST_CLOCK = "fast_clock"


FAULT_TEXTS = {
    FaultKind.SILENT: ("失联", "fall silent"),
    FaultKind.MUTE: ("停止上报", "stop telling"),
    FaultKind.REFUSE: ("拒绝指令", "refuse"),
    FaultKind.LATE: ("响应延迟", "are late"),
    FaultKind.STUCK: ("电表冻结", "have frozen meters"),
    FaultKind.IGNORE: ("收令不动", "take orders and do nothing"),
    FaultKind.PARTIAL: ("只响应一半", "do half"),
    FaultKind.REVERSED: ("电表反接", "have reversed meters"),
    FaultKind.MEGAWATT: ("电表量纲错误", "say megawatts"),
    FaultKind.SLOW_CLOCK: ("时钟偏慢", "have slow clocks"),
    FaultKind.FAST_CLOCK: ("时钟偏快", "have fast clocks"),
}
"""What a journal says of many: Chinese, English."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one device in [start, end)."""

    resource_id: str
    kind: FaultKind
    start: datetime
    end: datetime


class FaultPlan:
    """Everyday faults by the dice, and planned ones, for N devices in the order of ``resource_ids``.

    ``refuse_share``: of commands, thrown per device and hour.  ``mute_share``: of devices that are mute once a day
    for 30 to 120 minutes.  ``late_share``: of answers and readings that come 5 to 60 s late.
    """

    def __init__(
        self,
        resource_ids: Sequence[str],
        seed: int,
        *,
        refuse_share: float = 0.03,
        mute_share: float = 0.05,
        late_share: float = 0.10,
    ) -> None:
        self.resource_ids = tuple(resource_ids)
        self.row_of = {name: row for row, name in enumerate(self.resource_ids)}
        self._keys = keys_of(self.resource_ids, seed)
        self._refuse_share, self._mute_share, self._late_share = refuse_share, mute_share, late_share
        self._planned: list[Fault] = []
        self._remembered: dict[str, tuple[datetime, NDArray[Any]]] = {}

    @classmethod
    def none(cls, resource_ids: Sequence[str]) -> "FaultPlan":
        """A world in which nothing goes wrong."""
        return cls(resource_ids, 0, refuse_share=0, mute_share=0, late_share=0)

    @property
    def planned(self) -> tuple[Fault, ...]:
        """What was added to the everyday faults."""
        return tuple(self._planned)

    def add(self, faults: Iterable[Fault]) -> None:
        """Plan faults; ``KeyError`` for a device that is not there."""
        for fault in faults:
            self.row_of[fault.resource_id]
            self._planned.append(fault)
        self._remembered.clear()
        self.__dict__.pop("_planned_columns", None)

    def silence_fraction(
        self,
        fraction: float,
        *,
        at: datetime,
        until: datetime,
        groups: Mapping[str, str] | None = None,
        kind: FaultKind = FaultKind.SILENT,
    ) -> tuple[str, ...]:
        """Let that fraction of the devices fall silent in [at, until); their ids.

        ``groups``: device → class; then it is that fraction of every class as nearly as whole devices allow.
        """
        order = np.argsort(uniform(self._keys, "silenced", int(at.timestamp())), kind="stable")
        names = [self.resource_ids[row] for row in order]
        wanted = round(fraction * len(names))
        if groups is not None:
            names = _spread(names, groups, fraction)
        chosen = tuple(names[:wanted])
        self.add(Fault(name, kind, at.astimezone(UTC), until.astimezone(UTC)) for name in chosen)
        return chosen

    # ---- who is affected, (N,): not to be written to, the same instant is asked for again and again

    def _flags(self, kind: FaultKind, now: datetime) -> Flags:
        flags = np.zeros(len(self.resource_ids), dtype=np.bool_)
        rows, kinds, start_s, end_s = self._planned_columns
        second = now.timestamp()
        flags[rows[(kinds == _NUMBER[kind]) & (start_s <= second) & (second < end_s)]] = True
        return flags

    @cached_property
    def _planned_columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray, FloatArray]:
        planned = self._planned
        return (
            np.array([self.row_of[fault.resource_id] for fault in planned], dtype=np.int64),
            np.array([_NUMBER[fault.kind] for fault in planned], dtype=np.int64),
            np.array([fault.start.timestamp() for fault in planned], dtype=np.float64),
            np.array([fault.end.timestamp() for fault in planned], dtype=np.float64),
        )

    def _at(self, name: str, now: datetime, make: Callable[[datetime], NDArray[Any]]) -> NDArray[Any]:
        """What ``make`` says of an instant; thousands of orders that arrive at once ask for the same."""
        known = self._remembered.get(name)
        if known is None or known[0] != now:
            known = self._remembered[name] = (now, make(now))
        return known[1]

    def silent(self, now: datetime) -> Flags:
        """True where nothing gets through either way."""
        return self._at("silent", now, lambda at: self._flags(FaultKind.SILENT, at))

    def mute(self, now: datetime) -> Flags:
        """True where no readings come (silent ones included)."""
        return self._at("mute", now, self._mute)

    def _mute(self, now: datetime) -> Flags:
        second = now.timestamp()
        day = int(second // 86400)
        flags = self._flags(FaultKind.MUTE, now) | self.silent(now)
        for each in (day - 1, day):  # a spell may reach over midnight
            start = each * 86400 + between(self._keys, "mute-start", 0, 86400, each)
            length = between(self._keys, "mute-length", 1800, 7200, each)
            chosen = uniform(self._keys, "mute", each) < self._mute_share
            flags |= chosen & (start <= second) & (second < start + length)
        return flags

    def refusing(self, now: datetime) -> Flags:
        """True where a command would be refused."""
        return self._at("refusing", now, self._refusing)

    def _refusing(self, now: datetime) -> Flags:
        slot = int(now.timestamp() // REFUSAL_SLOT_S)
        thrown = uniform(self._keys, "refuse", slot) < self._refuse_share
        return self._flags(FaultKind.REFUSE, now) | thrown

    def stuck(self, now: datetime) -> Flags:
        """True where the meter repeats its last reading."""
        return self._at("stuck", now, lambda at: self._flags(FaultKind.STUCK, at))

    def ignoring(self, now: datetime) -> Flags:
        """True where a command is said to be taken and nothing is done."""
        return self._at("ignoring", now, lambda at: self._flags(FaultKind.IGNORE, at))

    def partial(self, now: datetime) -> Flags:
        """True where half of what is ordered is done."""
        return self._at("partial", now, lambda at: self._flags(FaultKind.PARTIAL, at))

    def meter_factor(self, now: datetime) -> FloatArray:
        """What the meter makes of a kW: 1, −1 if it is reversed, 0.001 if it says megawatts."""
        return self._at("factor", now, self._meter_factor)

    def _meter_factor(self, now: datetime) -> FloatArray:
        factor = np.where(self._flags(FaultKind.REVERSED, now), -1.0, 1.0)
        return np.where(self._flags(FaultKind.MEGAWATT, now), 1e-3 * factor, factor)

    def skew_s(self, now: datetime) -> FloatArray:
        """By how many seconds the device's own clock is ahead."""
        return self._at("skew", now, self._skew_s)

    def _skew_s(self, now: datetime) -> FloatArray:
        ahead = np.where(self._flags(FaultKind.FAST_CLOCK, now), 1.0, 0.0) - self._flags(FaultKind.SLOW_CLOCK, now)
        return SKEW.total_seconds() * ahead

    def late_s(self, now: datetime) -> FloatArray:
        """By how many seconds answers and readings of this moment are late: 0, or 5 to 60."""
        return self._at("late", now, self._late_s)

    def _late_s(self, now: datetime) -> FloatArray:
        slot = int(now.timestamp() // LATENESS_SLOT_S)
        thrown = uniform(self._keys, "late", slot) < self._late_share
        lateness = between(self._keys, "lateness", 5.0, 60.0, slot)
        late = np.where(thrown, lateness, 0.0)
        return np.where(self._flags(FaultKind.LATE, now), 60.0, late)


_NUMBER = {kind: number for number, kind in enumerate(FaultKind)}


def _spread(names: Sequence[str], groups: Mapping[str, str], fraction: float) -> list[str]:
    """``names`` in an order whose every beginning of that fraction is spread evenly over the groups."""
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(groups[name], []).append(name)
    placed = [
        ((place + 0.5) / (fraction * len(inside)) if fraction > 0 else place, group, name)
        for group, inside in sorted(members.items())
        for place, name in enumerate(inside)
    ]
    return [name for _, _, name in sorted(placed)]
