"""What the service knows about every device right now: the one place where telemetry feeds back.

Everything here can be rebuilt from the store after a restart; nothing here decides anything.  Times are aware UTC,
power is positive when consuming.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import exp, expm1

from models.dispatch.problem import ResourceState
from models.records import RegisteredResourceRecord
from models.resources import CurtailableLoad, EvCharger, InterruptibleLoad, ResourceKind, Storage, ThermalLoad
from models.telemetry import ChargingSession, Reading

HISTORY_KEPT = timedelta(hours=24)
"""How long curtailed pieces are remembered: longer than any rebound or rest that a table may ask for in a
day."""


@dataclass(frozen=True, slots=True)
class CurtailedPiece:
    """``power_kw`` less than the baseline from ``start`` to ``end``, ordered by us and taken by the device.

    ``depth_fraction`` is ``power_kw`` over the most that could have been given up: full hours count by it.
    """

    start: datetime
    end: datetime
    power_kw: float
    depth_fraction: float

    @property
    def hours(self) -> float:
        """Length of the piece in hours."""
        return (self.end - self.start).total_seconds() / 3600

    def between(self, start: datetime | None, end: datetime | None) -> "CurtailedPiece":
        """The part of the piece after ``start`` and before ``end``."""
        first = self.start if start is None else max(self.start, start)
        last = self.end if end is None else min(self.end, end)
        return CurtailedPiece(first, last, self.power_kw, self.depth_fraction)


@dataclass(slots=True)
class ResourceLive:
    """One registered resource, as last heard of."""

    record: RegisteredResourceRecord
    latest: Reading | None = None
    session: ChargingSession | None = None
    session_delivered_kwh: float = 0.0
    comfort_store_kwh: float = 0.0
    ordered_kw: float | None = None
    ordered_until: datetime | None = None
    refused_until: datetime | None = None
    curtailed: list[CurtailedPiece] = field(default_factory=list)
    opted_out_of: set[str] = field(default_factory=set)
    mode_since: datetime | None = None
    process_kwh: list[tuple[datetime, float]] = field(default_factory=list)

    @property
    def resource_id(self) -> str:
        """Id of the resource."""
        return self.record.resource.resource_id

    @property
    def kind(self) -> ResourceKind:
        """Kind of the resource."""
        return self.record.resource.kind

    def is_fresh(self, now: datetime) -> bool:
        """True if the newest reading is younger than the resource's time-to-live."""
        if self.latest is None:
            return False
        return (now - self.latest.measured_at).total_seconds() <= self.record.telemetry_ttl_s

    def is_dispatchable(self, now: datetime) -> bool:
        """True if the device is heard of, says it is available, and has not just refused an order."""
        if not self.is_fresh(now) or self.latest is None or not self.latest.available:
            return False
        return self.refused_until is None or now >= self.refused_until

    def is_under_order(self, now: datetime) -> bool:
        """True while a setpoint (not a release) of ours is in force."""
        return self.ordered_kw is not None and self.ordered_until is not None and now < self.ordered_until

    def curtailed_since(self, start: datetime) -> Iterator[CurtailedPiece]:
        """Curtailed pieces that end after ``start``."""
        return (piece for piece in self.curtailed if piece.end > start)

    def problem_state(self, now: datetime, day_start: datetime) -> ResourceState:
        """What a re-plan from ``now`` must not forget; limits "per day" count from ``day_start``."""
        resource, latest = self.record.resource, self.latest
        power_kw = latest.power_kw if latest is not None else None
        if isinstance(resource, Storage):
            level = latest.energy_kwh if latest is not None else None
            on = None if power_kw is None else self.mode_of(power_kw) != 0
            return ResourceState(energy_kwh=level, power_kw=power_kw, on=on, hours_in_state_h=self._hours(now))
        if isinstance(resource, EvCharger):
            if self.session is None:
                return ResourceState(power_kw=power_kw)
            if self.feeds_back:
                level = latest.energy_kwh if latest is not None else None
                if level is None:
                    level = self.session.battery_start_kwh
                return ResourceState(energy_kwh=level, power_kw=power_kw)
            return ResourceState(delivered_kwh=self.session_delivered_kwh, power_kw=power_kw)
        if isinstance(resource, ThermalLoad):
            return ResourceState(store_kwh=self.comfort_store_kwh, power_kw=power_kw)
        if isinstance(resource, CurtailableLoad | InterruptibleLoad):
            return self._load_state(now, day_start, power_kw)
        if resource.kind is ResourceKind.GENERATOR:
            on = power_kw is not None and self.mode_of(power_kw) < 0
            return ResourceState(on=on, hours_in_state_h=self._hours(now), power_kw=power_kw)
        return ResourceState(power_kw=power_kw)

    @property
    def feeds_back(self) -> bool:
        """True if the car that is plugged in is planned as V2G (by the rule of ``EvCharger.session``)."""
        resource, stay = self.record.resource, self.session
        if not isinstance(resource, EvCharger) or stay is None or resource.discharge_limit_kw <= 0:
            return False
        return stay.battery_capacity_kwh is not None and stay.battery_start_kwh is not None

    def mode_of(self, power_kw: float) -> int:
        """1 drawing, -1 feeding in, 0 idle: less than a hundredth of the nameplate is a meter's noise."""
        idle_kw = max(1e-6, 0.01 * self.record.connected_kw)
        return 0 if abs(power_kw) <= idle_kw else (1 if power_kw > 0 else -1)

    def process_state(self, now: datetime, window_start: datetime) -> ResourceState:
        """What a shiftable process has used since its window began, and for how long its run has been going."""
        pieces = [(end, kwh) for end, kwh in self.process_kwh if end > window_start and kwh > 1e-6]
        running = bool(pieces) and self.latest is not None and self.latest.power_kw > 1e-3
        hours = (now - pieces[0][0]).total_seconds() / 3600 if pieces else 0.0
        return ResourceState(
            delivered_kwh=sum(kwh for _, kwh in pieces),
            on=running,
            hours_in_state_h=max(0.0, hours),
            power_kw=self.latest.power_kw if self.latest is not None else None,
        )

    def note_process(self, end: datetime, kwh: float) -> None:
        """Remember what a process used up to ``end``."""
        self.process_kwh.append((end, kwh))
        self.process_kwh = [piece for piece in self.process_kwh if piece[0] > end - 2 * HISTORY_KEPT]

    def _hours(self, now: datetime) -> float | None:
        return None if self.mode_since is None else max(0.0, (now - self.mode_since).total_seconds() / 3600)

    def _load_state(self, now: datetime, day_start: datetime, power_kw: float | None) -> ResourceState:
        done = [piece.between(None, now) for piece in self.curtailed if piece.start < now]
        today = [piece.between(day_start, None) for piece in done if piece.end > day_start]
        calls = sum(1 for before, piece in zip([None, *today], today, strict=False) if not _touch(before, piece))
        active = bool(done) and done[-1].end >= now - timedelta(seconds=1)
        if active:
            first = done[-1]
            for piece in reversed(done[:-1]):
                if not _touch(piece, first):
                    break
                first = piece
            in_state_h = (now - first.start).total_seconds() / 3600
        elif done:
            in_state_h = (now - done[-1].end).total_seconds() / 3600
        else:
            in_state_h = 24.0
        history = tuple(((now - piece.end).total_seconds() / 3600, piece.hours, piece.power_kw) for piece in done)
        return ResourceState(
            on=active,
            hours_in_state_h=max(0.0, in_state_h),
            hours_used_h=sum(piece.hours * piece.depth_fraction for piece in today),
            energy_used_kwh=sum(piece.hours * piece.power_kw for piece in today),
            calls_used=calls,
            power_kw=power_kw,
            curtailed_history=history,
        )

    def note_curtailed(self, start: datetime, end: datetime, power_kw: float, depth_fraction: float) -> None:
        """Remember that ``power_kw`` of the baseline is given up from ``start`` to ``end``.

        The newest order counts: what an earlier one said of the time after ``start`` is forgotten (0 kW takes
        it back).  Equal neighbours are joined.
        """
        if end <= start:
            return
        kept = [piece.between(None, start) for piece in self.curtailed if piece.start < start]
        last = kept[-1] if kept else None
        if (
            last is not None
            and last.end == start
            and abs(last.power_kw - power_kw) < 1e-9
            and abs(last.depth_fraction - depth_fraction) < 1e-9
        ):
            kept[-1] = CurtailedPiece(last.start, end, power_kw, depth_fraction)
        elif power_kw > 0:
            kept.append(CurtailedPiece(start, end, power_kw, depth_fraction))
        self.curtailed = [piece for piece in kept if piece.end > end - HISTORY_KEPT]

    @property
    def can_give_up(self) -> bool:
        """True for loads whose hours and energy of the day are limited."""
        return isinstance(self.record.resource, CurtailableLoad | InterruptibleLoad)

    def give_up(self, start: datetime, end: datetime, given_up_kw: float, baseline_kw: float) -> None:
        """Remember that a load gives up so much of its baseline from ``start`` to ``end``, 0 = nothing (any more)."""
        resource = self.record.resource
        if isinstance(resource, CurtailableLoad):
            depth_kw = resource.curtail_share * baseline_kw
        elif isinstance(resource, InterruptibleLoad):
            depth_kw = min(resource.block_kw, baseline_kw)
        else:
            return
        share = min(1.0, given_up_kw / depth_kw) if depth_kw > 0 else 0.0
        self.note_curtailed(start, end, given_up_kw, share)

    def advance_comfort(self, hours: float, moved_kw: float) -> None:
        """Integrate the comfort store of a thermal load over ``hours`` with mean u = ``moved_kw``."""
        resource = self.record.resource
        if not isinstance(resource, ThermalLoad):
            return
        decay = resource.decay_per_hour
        kept = exp(-decay * hours)
        gain_h = hours if decay * hours < 1e-12 else -expm1(-decay * hours) / decay  # 1 - kept would cancel
        level = kept * self.comfort_store_kwh + gain_h * moved_kw
        self.comfort_store_kwh = min(max(level, -resource.store_low_kwh), resource.store_high_kwh)


def _touch(before: CurtailedPiece | None, after: CurtailedPiece) -> bool:
    return before is not None and abs((after.start - before.end).total_seconds()) < 1


class LiveState:
    """All registered resources, as last heard of."""

    def __init__(self, records: Iterable[RegisteredResourceRecord] = ()) -> None:
        self._resources = {record.resource.resource_id: ResourceLive(record) for record in records}
        self.aggregator_online: dict[str, bool] = {}
        self.said_online_s: dict[str, float] = {}
        """Moment (``time.monotonic``) at which a gateway last said that it is online."""

    def __len__(self) -> int:
        return len(self._resources)

    def __iter__(self) -> Iterator[ResourceLive]:
        return iter(self._resources.values())

    def get(self, resource_id: str) -> ResourceLive | None:
        """The resource, or None if nobody registered it."""
        return self._resources.get(resource_id)

    def put(self, record: RegisteredResourceRecord) -> None:
        """Take a new or changed registration; what was measured stays."""
        known = self._resources.get(record.resource.resource_id)
        if known is None:
            self._resources[record.resource.resource_id] = ResourceLive(record)
        else:
            known.record = record

    def remove(self, resource_id: str) -> None:
        """Forget a withdrawn resource."""
        self._resources.pop(resource_id, None)

    def take(self, reading: Reading) -> bool:
        """Take a reading if it is the newest of its device; False for one that came too late to matter now."""
        live = self._resources.get(reading.resource_id)
        if live is None or (live.latest is not None and reading.measured_at <= live.latest.measured_at):
            return False
        before, live.latest = live.latest, reading
        if before is not None and live.mode_of(before.power_kw) != live.mode_of(reading.power_kw):
            live.mode_since = reading.measured_at
        self._take_session(live, before, reading)
        if live.kind is ResourceKind.SHIFTABLE_LOAD and before is not None:
            hours = (reading.measured_at - before.measured_at).total_seconds() / 3600
            live.note_process(reading.measured_at, max(0.0, reading.power_kw) * min(hours, 1.0))
        if live.kind is ResourceKind.THERMAL_LOAD and reading.energy_kwh is not None:
            live.comfort_store_kwh = reading.energy_kwh
        return True

    @staticmethod
    def _take_session(live: ResourceLive, before: Reading | None, reading: Reading) -> None:
        if reading.says_session:
            known = live.session.session_id if live.session is not None else None
            if reading.session is None or reading.session.session_id != known:
                live.session_delivered_kwh = 0.0
            live.session = reading.session
        if live.session is None:
            return
        resource = live.record.resource
        if reading.energy_kwh is not None and not live.feeds_back:
            live.session_delivered_kwh = reading.energy_kwh
        elif before is not None and reading.energy_kwh is None and isinstance(resource, EvCharger):
            hours = (reading.measured_at - before.measured_at).total_seconds() / 3600
            at_battery_kw = resource.charge_efficiency * max(0.0, reading.power_kw)
            live.session_delivered_kwh += at_battery_kw * hours

    def dispatchable(self, now: datetime) -> list[ResourceLive]:
        """Resources that may be given orders now."""
        return [live for live in self if live.is_dispatchable(now)]

    def stale(self, now: datetime) -> list[ResourceLive]:
        """Resources whose newest reading is older than their time-to-live."""
        return [live for live in self if not live.is_fresh(now)]
