"""A battery that is told to give what it has said it does not have, or to take what finds no room, is found."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from models.resources import Pillar, Storage
from simulations.stored_energy import Level, broken_levels, levels_of
from simulations.wire.codec import ReceivedSetpoints
from simulations.wire.record import GatewayRecord, Told

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BATTERY = Storage(
    resource_id="b",
    aggregator_id="a",
    zone_id="z",
    meter_id="m",
    pillar=Pillar.SOURCE,
    tariff_id="t",
    charge_limit_kw=100.0,
    discharge_limit_kw=100.0,
    energy_min_kwh=10.0,
    energy_max_kwh=200.0,
    energy_start_kwh=100.0,
    energy_end_min_kwh=10.0,
    charge_efficiency=0.9,
    discharge_efficiency=0.9,
    wear_cost_per_kwh=0.1,
)


def level(energy_kwh: float, minutes: float = -5, power_kw: float = 0.0, came_after: float = 0.0) -> Level:
    measured_at = START + minutes * MINUTE
    return Level(measured_at, measured_at + came_after * MINUTE, energy_kwh, power_kw)


def found(power_kw: float | None, levels: list[Level], minutes: float = 60, next_at: float | None = None) -> str:
    """What is found of one order that holds from now on; ``next_at``: when a newer one was to take its place."""
    window = START, START + minutes * MINUTE
    record = GatewayRecord(told=[Told(START, "b", "c1", 1, *window, power_kw)])
    record.came.append((START, ReceivedSetpoints("c1", 1, "hash", *window, (("b", power_kw),))))
    if next_at is not None:
        later = START + next_at * MINUTE
        record.came.append((later, ReceivedSetpoints("c2", 2, "hash", later, later + MINUTE, (("b", 0.0),))))
    return " ".join(broken_levels([record], {"b": BATTERY}, {"b": levels}, {"c1": START}))


def test_what_is_there_may_be_asked_for_and_no_more() -> None:
    assert found(-90.0, [level(110.0)]) == ""
    assert found(-90.0, [level(60.0)]) == (
        "levels: b at 05:00:00 told -90.0 kW for 60 min with 60.0 kWh, its limit is 10.0 kWh"
    )
    assert found(-90.0, [level(60.0)], next_at=30) == "", "by then it is told something else"
    assert found(-90.0, [level(60.0)], minutes=30) == ""


def test_what_finds_room_may_be_given_and_no_more() -> None:
    assert found(90.0, [level(119.0)]) == ""
    assert found(90.0, [level(150.0)]) == (
        "levels: b at 05:00:00 told 90.0 kW for 60 min with 150.0 kWh, its limit is 200.0 kWh"
    )
    assert found(None, [level(150.0)]) == found(0.0, [level(5.0)]) == ""


def test_an_empty_battery_may_not_be_told_to_give_for_minutes_either() -> None:
    assert found(-100.0, [level(10.0)], minutes=5) != ""
    assert found(-100.0, [level(10.0, power_kw=80.0)], minutes=5) == "", "it was charging since it said so"
    assert found(100.0, [level(200.0)], minutes=5) != ""
    assert found(100.0, [level(200.0, power_kw=-80.0)], minutes=5) == ""


def test_only_what_the_platform_knew_counts() -> None:
    assert found(-90.0, [level(110.0), level(60.0, -1, came_after=2)]) == "", "it came too late"
    assert found(-90.0, [level(110.0, -10), level(60.0, -5), level(60.0, 0)]) != ""
    assert found(-90.0, [level(110.0), level(60.0, 0)]) == "", "it came while the order was being made"
    assert found(-90.0, [level(60.0, -11)]) == "", "it is old"


def test_orders_for_later_are_made_anew_before_they_hold() -> None:
    def at(begin: datetime) -> tuple[str, ...]:
        window = begin, START + 65 * MINUTE
        record = GatewayRecord(told=[Told(START, "b", "c1", 1, *window, -90.0)])
        record.came.append((START, ReceivedSetpoints("c1", 1, "hash", *window, (("b", -90.0),))))
        return broken_levels([record], {"b": BATTERY}, {"b": [level(20.0)]}, {"c1": START})

    assert at(START + 5 * MINUTE) == ()
    assert len(at(START)) == 1


def test_levels_are_by_device_and_in_the_order_of_time() -> None:
    rows = [("b", START + MINUTE, START, 2.0, 1.0), ("b", START, START, 1.0, 1.0), ("c", START, START, None, 1.0)]
    frame = pd.DataFrame(rows, columns=["resource_id", "measured_at", "received_at", "energy_kwh", "power_kw"])
    assert [each.energy_kwh for each in levels_of(frame)["b"]] == [1.0, 2.0]
    assert set(levels_of(frame)) == {"b"}
