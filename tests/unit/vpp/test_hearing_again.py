"""After a restart every car has got what it had got before."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adapters.store.readings import PowerColumns
from models.records import ChargedRecord, SessionRecord
from models.telemetry import ChargingSession, Reading
from tests.live import HOUR, T0, charger, reading, registered, store_of
from vpp.charged import keep_charged
from vpp.restart import _hear_again
from vpp.state import LiveState

STEP_MIN = 5
CHARGERS = ("first", "second", "tells", "left", "quiet")


def stay(number: int, come_min: float) -> ChargingSession:
    come = T0 + timedelta(minutes=come_min)
    return ChargingSession(
        session_id=f"s{number}", arrival=come, departure=come + 12 * HOUR, energy_needed_kwh=20.0 + number
    )


def a_night(seed: int) -> list[Reading]:
    """Every charger reports every five minutes, now and then not; ``first`` sees two cars, one leaves, one says what it
    has got, one changes its wish.
    """
    dice, said = np.random.default_rng(seed), []
    for minutes in range(0, 8 * 60, STEP_MIN):
        for name in CHARGERS:
            more: dict[str, Any] = {}
            if minutes == 60 and name != "quiet":
                more["session"] = stay(1, 58)
            if minutes == 120 and name == "second":
                more["session"] = stay(1, 58).model_copy(update={"energy_needed_kwh": 30.0})
            if minutes == 200 and name == "left":
                more["session"] = None
            if minutes == 300 and name == "first":
                more["session"] = stay(2, 299)
            if minutes > 60 and name == "tells":
                more["energy_kwh"] = minutes / 60.0
            if more.get("session", more) is more and dice.random() < 0.15:
                continue
            said.append(reading(name, minutes, float(dice.uniform(0, 7)), **more))
    return said


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kept_min", [None, 59, 130, 250, 298, 470, 480])
def test_what_a_car_has_got_is_what_it_had_got_before(tmp_path: Path, seed: int, kept_min: float | None) -> None:
    """Whatever was kept of it meanwhile, and however long ago; none of what was kept of a car that has left."""
    things, said = [charger(name) for name in CHARGERS], a_night(seed)
    before, after = (LiveState([registered(each) for each in things]) for _ in range(2))
    with store_of(tmp_path, *things) as store:
        for each in said:
            if kept_min is not None and each.measured_at > T0 + timedelta(minutes=kept_min):
                asyncio.run(keep_charged(before, store))
                kept_min = None
            before.take(each)
        if kept_min is not None:
            asyncio.run(keep_charged(before, store))
        store.add_readings(said, T0)
        open_stays = {"first": stay(2, 299), "second": stay(1, 58), "tells": stay(1, 58)}
        store.save_sessions([SessionRecord.of(name, each) for name, each in open_stays.items()])
        now = T0 + 8 * HOUR
        _hear_again(SimpleNamespace(state=after, store=store), now, lambda _: None)  # type: ignore[arg-type]
    assert {live.resource_id for live in after if live.session is not None} == set(open_stays)
    for live in before:
        again = after.get(live.resource_id)
        assert again is not None
        assert again.session == live.session
        if live.session is not None:
            assert live.session_delivered_kwh > 0.5
            assert again.session_delivered_kwh == pytest.approx(live.session_delivered_kwh)
            assert again.latest == live.latest


def test_only_what_has_come_since_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        reading("charger", 0, 6.0, session=stay(1, -2)),
        *(reading("charger", minutes, 6.0) for minutes in range(5, 480, 5)),
    ]
    before, after = LiveState([registered(charger())]), LiveState([registered(charger())])
    with store_of(tmp_path, charger()) as store:
        store.add_readings(said, T0)
        for each in said[:-2]:
            before.take(each)
        asyncio.run(keep_charged(before, store))
        asked: list[datetime] = []
        powers = store.powers

        def noted(names: Sequence[str], start: datetime, end: datetime) -> Iterator[PowerColumns]:
            asked.append(start)
            return powers(names, start, end)

        monkeypatch.setattr(store, "powers", noted)
        _hear_again(SimpleNamespace(state=after, store=store), T0 + 8 * HOUR, lambda _: None)  # type: ignore[arg-type]
    assert asked == [said[-3].measured_at - HOUR]
    live = after.get("charger")
    assert live is not None
    assert live.session_delivered_kwh == pytest.approx(6.0 * 475 / 60 * charger().charge_efficiency)


def test_a_car_that_came_days_ago_has_what_was_kept_of_it_and_what_it_has_drawn_since(tmp_path: Path) -> None:
    long_stay, now = stay(1, -50 * 60), T0 + 8 * HOUR
    said = [reading("charger", minutes, float(minutes % 7)) for minutes in range(0, 8 * 60, STEP_MIN)]
    with store_of(tmp_path, charger()) as store:
        store.add_readings(said, T0)
        store.save_sessions([SessionRecord.of("charger", long_stay)])
        store.save_charged([ChargedRecord("charger", "s1", T0 + timedelta(minutes=100), 11.0)])
        state = LiveState([registered(charger())])
        _hear_again(SimpleNamespace(state=state, store=store), now, lambda _: None)  # type: ignore[arg-type]
    live = state.get("charger")
    assert live is not None
    drawn_kwh = sum(minutes % 7 for minutes in range(105, 8 * 60, STEP_MIN)) * STEP_MIN / 60
    assert live.session_delivered_kwh == pytest.approx(11.0 + charger().charge_efficiency * drawn_kwh)


def test_a_car_that_came_days_ago_has_what_its_record_says_and_what_it_has_drawn_since_its_newest_wish(
    tmp_path: Path,
) -> None:
    """Its arrival is not among the readings that are looked at; a wish that it changed meanwhile is no arrival."""
    long_stay, now = stay(1, -50 * 60), T0 + 8 * HOUR
    with store_of(tmp_path, charger()) as store:
        wish = long_stay.model_copy(update={"energy_needed_kwh": 40.0})
        said = [reading("charger", minutes, 6.0) for minutes in range(5, 8 * 60, STEP_MIN)]
        store.add_readings([reading("charger", 0, 6.0, session=wish), *said], T0)
        store.save_sessions([SessionRecord.of("charger", wish, 12.0)])
        state = LiveState([registered(charger())])
        _hear_again(SimpleNamespace(state=state, store=store), now, lambda _: None)  # type: ignore[arg-type]
    live = state.get("charger")
    assert live is not None
    assert live.session == wish
    assert live.session_delivered_kwh == pytest.approx(12.0 + 6.0 * charger().charge_efficiency * 475 / 60)
