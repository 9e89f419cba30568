"""What tells one simulated day from another, and the service's settings for it."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from models.events import EventOrder
from models.intervals import FloatArray, IntervalGrid
from simulations.city_feed import CurveFeed
from simulations.day_result import DayFacts
from simulations.faults import FaultKind
from simulations.scenarios.generator import GeneratedFleet
from simulations.wire_faults import WireShares
from vpp.settings import Settings, load_settings

REFERENCE_DEVICES = 500
"""Up to so many devices the readable reference model keeps up with a cycle: of 2 000 it compiles one too long."""
CYCLE_DEADLINE_S, CYCLE_DEVICES_PER_S = 5.0, 10_000
"""A large fleet's cycle may be planned for so long, and a second more for every so many devices."""
FINE_HISTORY_DEVICES = 5_000
"""Up to so many devices the earlier days are told in quarters of an hour."""


@dataclass(frozen=True)
class Trouble:
    """A share of the devices with which something is wrong in [start, end)."""

    fraction: float
    start: datetime
    end: datetime
    kind: FaultKind = FaultKind.SILENT


@dataclass(frozen=True)
class Outage:
    """The broker or the whole service stops without a word at an instant; the service stays away for ``lasts``.

    ``after_commands``: not before so many commands of what is due at that instant have come to gateways, so that it
    hits the service in the midst of a delivery.
    """

    what: Literal["broker", "service"]
    at: datetime
    lasts: timedelta = timedelta(0)
    after_commands: int = 0


@dataclass(frozen=True)
class DaySetup:
    """Everything that tells one day from another.

    ``city_kw``: the true load of the city, portfolio included, at full scale, on any grid.  ``declare_at``: when the
    operator declares; ``orders`` what.  ``plan_at`` must be when the service's day-ahead planning is due.
    ``wire``: what goes wrong on every gateway's wire around the events.  ``is_watched``: what goes through the gateways
    is compared afterwards with what the platform kept.  ``dice_seed``: what happens from a kept start on (devices'
    dice, everyday faults, the wire), None: the fleet's own.  ``telemetry_s``: how often devices report, ``step_s``: the
    longest step of their physics.
    """

    generated: GeneratedFleet
    feed: CurveFeed
    market_day: date
    orders: tuple[EventOrder, ...]
    declare_at: datetime
    city_kw: Callable[[IntervalGrid], FloatArray]
    limit_kw: float | None
    facts: DayFacts
    troubles: tuple[Trouble, ...] = ()
    outages: tuple[Outage, ...] = ()
    wire: WireShares | None = None
    is_watched: bool = False
    everyday_faults: bool = True
    dice_seed: int | None = None
    telemetry_s: float = 300.0
    step_s: float = 60.0
    settings: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def history_step(self) -> timedelta:
        """Over how long the readings of the earlier days are means: of a large fleet over an hour, the longest that
        one reading may stand for.
        """
        return timedelta(minutes=15 if self.generated.resources <= FINE_HISTORY_DEVICES else 60)


def day_settings(setup: DaySetup, folder: Path) -> Settings:
    """The settings of the service for a day; its files go into ``folder``."""
    overrides: dict[str, dict[str, object]] = {
        "service": {"time_zone": str(setup.generated.scenario.zone), "data_dir": folder},
        "mqtt": {"broker": "auto", "port": _free_port()},
        "real_time": {"quiet_cycle_s": 3600.0},
        "solver": _solver(setup.generated.resources),
    }
    for section, values in setup.settings.items():
        overrides[section] = {**overrides.get(section, {}), **values}
    return load_settings(None, overrides)


def _solver(resources: int) -> dict[str, object]:
    """Who plans a fleet of so many devices, how well and for how long at most."""
    if resources <= REFERENCE_DEVICES:
        return {"gap": 0.01, "method": "reference"}
    deadline_s = CYCLE_DEADLINE_S + resources / CYCLE_DEVICES_PER_S
    return {"gap": 0.01, "method": "fast", "real_time_deadline_s": deadline_s}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
