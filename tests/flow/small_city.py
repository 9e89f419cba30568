"""A small city for flow tests: when things happen in it, and its devices behind their gateways, each a line of physics.

The wire is real; what lies beyond it is as simple as can be, so that a test knows what must come of an order.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from adapters.mqtt.credentials import new_password
from models.intervals import FloatArray, IntervalGrid
from simulations.city_feed import CurveFeed
from simulations.clock import VirtualClock
from simulations.wire import codec
from simulations.wire.gateway import AggregatorGateway, Answer, Policy, accept_all
from simulations.wire.orders import Outcome

MINUTE = timedelta(minutes=1)
CYCLE = timedelta(minutes=5)
START = datetime(2025, 7, 15, 14, 55, tzinfo=UTC)
"""22:55 in Shanghai, five minutes before the day ahead is planned."""
PLANNED = datetime(2025, 7, 15, 15, 10, tzinfo=UTC)
EVENT_START = datetime(2025, 7, 15, 17, 0, tzinfo=UTC)
EVENT_END = datetime(2025, 7, 15, 18, 0, tzinfo=UTC)
"""01:00 to 02:00 in Shanghai: soon after midnight, so that few quiet cycles lie before it."""
CITY_KW = 20_000.0


@dataclass
class Device:
    """One device: what it registers, and a physics of one line."""

    fields: dict[str, Any]
    level_kwh: float | None = None
    own_kw: float = 0.0
    session: dict[str, Any] | None = None
    orders: list[tuple[datetime, datetime, float | None]] = field(default_factory=list)
    energy_kwh: float = 0.0
    since: datetime | None = None
    is_silent: bool = False
    refuses: bool = False
    ignores: bool = False
    does_share: float = 1.0
    meter_factor: float = 1.0
    stuck_kw: float | None = None
    clock_ahead: timedelta = timedelta(0)
    told: bool = False
    power_kw: list[tuple[datetime, float]] = field(default_factory=list)

    def wanted_kw(self, now: datetime) -> float:
        """The newest order that is in force, else its own way."""
        for start, end, power_kw in reversed(self.orders):
            if start <= now < end:
                moved_kw = 0.0 if power_kw is None else power_kw - self.own_kw
                return self.own_kw + self.does_share * moved_kw
        return self.own_kw

    def advance(self, now: datetime, step: timedelta) -> None:
        """Live one step from ``now`` on."""
        power, hours = self.wanted_kw(now), step / timedelta(hours=1)
        if self.fields["kind"] == "storage" and self.level_kwh is not None:
            charge = self.fields["charge_efficiency"] * max(power, 0.0)
            gain = (charge - max(-power, 0.0) / self.fields["discharge_efficiency"]) * hours
            if not self.fields["energy_min_kwh"] <= self.level_kwh + gain <= self.fields["energy_max_kwh"]:
                power = gain = 0.0
            self.level_kwh += gain
        self.energy_kwh += power * hours
        self.power_kw.append((now, power))


class Aggregator:
    """Devices behind one gateway; answers to ``simulations.wire.gateway.Devices``."""

    def __init__(self, name: str, devices: Iterable[Device], clock: VirtualClock, policy: Policy = accept_all) -> None:
        self.name, self.clock = name, clock
        self.devices = {device.fields["resource_id"]: device for device in devices}
        self.password = new_password()
        self.policy = policy
        self.sequence = 0
        self.report_every = CYCLE
        self.heard: list[tuple[datetime, str, float | None, datetime, datetime]] = []
        self.gateway = AggregatorGateway(name, clock, self, self.devices, policy=self._decide, answer_timeout_s=1.0)

    def _decide(self, notice: codec.ReceivedEvent) -> Answer:
        return self.policy(notice)  # a test may change its mind

    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        device = self.devices[resource_id]
        if device.is_silent:
            return Outcome("silent")
        self.heard.append((self.clock.now(), resource_id, power_kw, valid_from, valid_until))
        if device.refuses:
            return Outcome("refused", "the owner does not want to")
        if not device.ignores:
            device.orders.append((valid_from, valid_until, power_kw))
        return Outcome("taken")

    async def register(self) -> dict[str, codec.ResourceAnswer]:
        profile = {"interval_start": [codec.stamp(START)], "values": [1.0]}
        return await self.gateway.register([device.fields for device in self.devices.values()], {"p": profile})

    def publish_history(self, now: datetime) -> None:
        """Twelve days of quarter hours in which every device went its own way."""
        readings = [
            codec.reading(name, now - k * timedelta(minutes=15), device.own_kw, 0)
            for name, device in self.devices.items()
            for k in range(12 * 96, 0, -1)
        ]
        self.gateway.publish_readings(readings)

    def mean_kw(self, start: datetime, end: datetime) -> float:
        """True mean power of its devices over [start, end)."""
        steps = [[kw for at, kw in device.power_kw if start <= at < end] for device in self.devices.values()]
        return sum(sum(each) / len(each) for each in steps)

    def publish(self, now: datetime) -> None:
        readings = []
        for name, device in self.devices.items():
            since = device.since
            if device.is_silent:
                continue
            mean = device.own_kw if since is None else device.energy_kwh / ((now - since).total_seconds() / 3600)
            self.sequence += 1
            level = float("nan") if device.level_kwh is None else device.level_kwh
            said_kw = device.meter_factor * mean if device.stuck_kw is None else device.stuck_kw
            fields = codec.reading(name, now + device.clock_ahead, said_kw, self.sequence, energy_kwh=level)
            if device.fields["kind"] == "ev_session" and not device.told:
                device.told = True
                fields["session"] = device.session
            readings.append(fields)
            device.energy_kwh, device.since = 0.0, now
        if readings:
            self.gateway.publish_readings(readings)


def battery(name: str, aggregator: str, zone: str = "east", **changed: Any) -> Device:
    """60 kW for two hours and more; one price all day, so that without an event it stands still."""
    fields = {
        "action": "update",
        "kind": "storage",
        "resource_id": name,
        "aggregator_id": aggregator,
        "zone_id": zone,
        "meter_id": f"meter-{name}",
        "pillar": "source",
        "tariff_id": "flat",
        "charge_limit_kw": 60.0,
        "discharge_limit_kw": 60.0,
        "energy_min_kwh": 10.0,
        "energy_max_kwh": 200.0,
        "energy_start_kwh": 150.0,
        "energy_end_min_kwh": 150.0,
        "charge_efficiency": 0.95,
        "discharge_efficiency": 0.95,
        "wear_cost_per_kwh": 0.05,
        "telemetry_ttl_s": 400.0,
        **changed,
    }
    return Device(fields, level_kwh=150.0)


def charger(name: str, aggregator: str, zone: str = "west") -> Device:
    """A V1G place where a car stands all night."""
    fields = {
        "action": "update",
        "kind": "ev_session",
        "resource_id": name,
        "aggregator_id": aggregator,
        "zone_id": zone,
        "meter_id": f"meter-{name}",
        "pillar": "load",
        "tariff_id": "flat",
        "charge_limit_kw": 7.0,
        "charge_efficiency": 0.9,
        "telemetry_ttl_s": 400.0,
    }
    session = {
        "session_id": f"stay-{name}",
        "arrival": codec.stamp(START - timedelta(hours=1)),
        "departure": codec.stamp(START + timedelta(hours=9)),
        "energy_needed_kwh": 20.0,
    }
    return Device(fields, own_kw=0.0, session=session)


def three_loads() -> list[Device]:
    """Loads of 200 kW all day; their profiles come from the days before."""
    common: dict[str, Any] = {
        "action": "update",
        "aggregator_id": "delta",
        "zone_id": "east",
        "pillar": "load",
        "tariff_id": "flat",
        "baseline_profile": "p",
        "baseline_scale_kw": 200.0,
        "telemetry_ttl_s": 400.0,
    }
    back = {"rebound_share": 0.3, "rebound_hours_h": 1.0}
    curtailable = {"curtail_share": 0.3, "cost_per_kwh": 0.7, "energy_limit_kwh": 300.0, "hours_limit_h": 4.0, **back}
    block = {"block_kw": 50.0, "cost_per_kwh": 0.8, "shortest_h": 0.25, "longest_h": 2.0, "calls_per_day": 2}
    building = {
        "increase_limit_kw": 20.0,
        "decrease_limit_kw": 40.0,
        "store_low_kwh": 60.0,
        "store_high_kwh": 20.0,
        "store_end_min_kwh": 0.0,
        "decay_per_hour": 0.3,
        "discomfort_cost_per_kwh": 0.0,
    }
    made = []
    for name, kind, fields in (
        ("shop", "curtailable_load", curtailable),
        ("oven", "interruptible_load", block),
        ("hall", "thermal_load", building),
    ):
        names = {"resource_id": name, "meter_id": f"meter-{name}", "kind": kind}
        made.append(Device({**common, **fields, **names}, own_kw=200.0))
    return made


def small_fleet(clock: VirtualClock) -> dict[str, Aggregator]:
    """Three aggregators, ten batteries of 60 kW, two chargers."""
    return {
        "alpha": Aggregator("alpha", [battery(f"a{k}", "alpha") for k in range(4)], clock),
        "beta": Aggregator("beta", [battery(f"b{k}", "beta", "west") for k in range(3)], clock),
        "gamma": Aggregator(
            "gamma",
            [*(battery(f"g{k}", "gamma", "west") for k in range(3)), charger("c0", "gamma"), charger("c1", "gamma")],
            clock,
        ),
    }


def small_city(load_kw: Callable[[], float]) -> CurveFeed:
    """Two zones, the same load all day; just so much cheaper in the morning that batteries recharge then."""

    def prices(grid: IntervalGrid) -> Mapping[str, FloatArray]:
        cheap = [9 <= (start.hour + 8) % 24 < 15 for start in grid.starts]
        return {"flat": np.where(cheap, 0.55, 0.6)}

    return CurveFeed(
        scale=1.0,
        zones=("east", "west"),
        zone_shares=np.array([0.5, 0.5]),
        zone_limits_kw=np.array([np.inf, np.inf]),
        prices=prices,
        forecast=lambda _, grid: np.full(len(grid), load_kw()),
        measured=lambda _, grid: np.full(len(grid), load_kw()),
        any_day=IntervalGrid.regular(START, timedelta(hours=1), 24),
    )
