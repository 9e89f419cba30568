"""Which cars were promised more than they got, and whether anybody was told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from models.records import AuditEntry
from simulations.devices.charger import EndedStay
from simulations.devices.sessions import Visit
from simulations.kept_promises import broken_promises

START = datetime(2025, 7, 16, tzinfo=UTC)
DEPARTURE = START + timedelta(hours=8)
VISIT = Visit(
    session_id="s",
    arrival_s=START.timestamp(),
    departure_s=DEPARTURE.timestamp(),
    leaves_s=DEPARTURE.timestamp(),
    needed_kwh=20.0,
    capacity_kwh=60.0,
    start_kwh=10.0,
    car_limit_kw=7.0,
)
SHORT = EndedStay("c", VISIT, 15.0)
FULL = EndedStay("c", VISIT, 20.0)


def line(at: datetime, session_id: str = "s") -> AuditEntry:
    details = {"promises": [{"resource_id": "c", "session_id": session_id, "limit": "energy_needed_kwh"}]}
    return AuditEntry(1, at, "service", "promises at risk", "promises", details, "", "")


def test_a_car_that_left_short_is_a_broken_promise_named_or_not() -> None:
    (broken,) = broken_promises([SHORT], [FULL], [], START)
    assert (broken.resource_id, broken.delivered_kwh, broken.without_kwh, broken.named) == ("c", 15.0, 20.0, False)
    assert broken_promises([SHORT], [FULL], [line(DEPARTURE - timedelta(hours=1))], START)[0].named
    assert not broken_promises([SHORT], [FULL], [line(DEPARTURE + timedelta(minutes=1))], START)[0].named
    assert not broken_promises([SHORT], [FULL], [line(START, "another")], START)[0].named


def test_what_the_event_did_not_do_is_no_broken_promise_of_it() -> None:
    assert broken_promises([FULL], [FULL], [], START) == []
    assert broken_promises([SHORT], [SHORT], [], START) == []  # it would have left like that anyway
    early = replace(SHORT, visit=replace(VISIT, leaves_s=VISIT.leaves_s - 3600))
    assert broken_promises([early], [FULL], [], START) == []  # the driver came back before the time
    assert broken_promises([SHORT], [FULL], [], DEPARTURE + timedelta(hours=1)) == []  # another day's
    assert broken_promises([replace(SHORT, delivered_kwh=19.6)], [FULL], [], START) == []  # a meter's error
