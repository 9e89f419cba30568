"""Promises: named before they break, told once and again when they get worse, and never lost with the database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.store import Store
from models.dispatch.admissions import admit
from models.dispatch.problem import DispatchProblem, ResourceState
from models.errors import StoreError
from models.fleet import Fleet
from models.plan import Admission
from models.resources import EvSession, Pillar
from tests.fleets import random_problem
from vpp.metrics import Metrics
from vpp.promises import Promises, is_promise_at_risk

BASE = random_problem(2, resources=8, intervals=12)
NOW = BASE.grid.start
DEPARTURE = NOW + timedelta(hours=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as made:
        made.migrate()
        yield made


@pytest.fixture
def promises(store: Store) -> Promises:
    return Promises(store=store, metrics=Metrics(), aggregator_of=lambda name: name.partition("-")[0])


def car(needed_kwh: float, delivered_kwh: float) -> DispatchProblem:
    row = EvSession(
        resource_id="garage-1",
        aggregator_id="garage",
        zone_id=BASE.zones[0],
        meter_id="garage",
        pillar=Pillar.SOURCE,
        tariff_id=next(iter(BASE.tariffs)),
        session_id="s7",
        arrival=NOW - timedelta(hours=1),
        departure=DEPARTURE,
        energy_needed_kwh=needed_kwh,
        charge_limit_kw=7.0,
        charge_efficiency=1.0,
    )
    states = {"garage-1": ResourceState(delivered_kwh=delivered_kwh)}
    return replace(BASE, fleet=Fleet.from_rows([row]), states=states, run_profiles={})


def lines(store: Store) -> list[dict[str, object]]:
    entries = [each for each in store.audit_log() if each.action == "promises at risk"]
    return [promise for entry in entries for promise in entry.details["promises"]]


async def test_a_car_that_cannot_be_charged_in_time_is_named_before_it_leaves(store: Store, promises: Promises) -> None:
    problem = car(30.0, 4.0)  # two hours of 7 kW are 14 kWh
    _, admissions = admit(problem)
    await promises.after_plan(problem, admissions, NOW)
    (risk,) = promises.at_risk()
    assert (risk.resource_id, risk.session_id, risk.limit) == ("garage-1", "s7", "energy_needed_kwh")
    assert risk.granted == pytest.approx(18.0)
    assert (risk.asked, risk.due) == (30.0, DEPARTURE)
    assert promises.at_risk("garage") == [risk]
    assert promises.at_risk("others") == []
    (line,) = lines(store)
    assert (line["resource_id"], line["due"]) == ("garage-1", DEPARTURE.isoformat())


async def test_it_is_told_once_again_when_it_gets_worse_and_no_more_when_it_is_well(
    store: Store, promises: Promises
) -> None:
    for later, delivered in enumerate((4.0, 3.9, 1.0)):
        problem = car(30.0, delivered)
        await promises.after_plan(problem, admit(problem)[1], NOW + timedelta(minutes=5 * later))
    assert [round(float(str(line["granted"]))) for line in lines(store)] == [18, 15]
    assert promises.at_risk()[0].since == NOW
    problem = car(30.0, 20.0)
    assert admit(problem)[1] == ()
    await promises.after_plan(problem, (), NOW + timedelta(minutes=20))
    assert promises.at_risk() == []


async def test_slow_worsening_adds_up_to_a_word(store: Store, promises: Promises) -> None:
    for later in range(12):
        problem = car(30.0, 4.0 - 0.3 * later)  # each step is less than a twentieth of what was asked
        await promises.after_plan(problem, admit(problem)[1], NOW + timedelta(minutes=5 * later))
    assert 2 <= len(lines(store)) <= 4


async def test_what_comes_and_goes_between_plans_is_told_once_an_hour(store: Store, promises: Promises) -> None:
    problem = car(30.0, 4.0)
    for later in range(8):
        admissions = admit(problem)[1] if later % 2 == 0 else ()
        await promises.after_plan(problem, admissions, NOW + timedelta(minutes=5 * later))
    assert len(lines(store)) == 1
    await promises.after_plan(problem, (), NOW + timedelta(minutes=100))
    await promises.after_plan(problem, admit(problem)[1], NOW + timedelta(minutes=105))
    assert len(lines(store)) == 2


async def test_a_database_that_is_away_holds_nothing_up_and_loses_no_line(
    store: Store, promises: Promises, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = car(30.0, 4.0)

    def away(*_: object) -> None:
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(store, "append_audit", away)
        await promises.after_plan(problem, admit(problem)[1], NOW)
    assert lines(store) == []
    assert promises.at_risk()
    await promises.after_plan(problem, admit(problem)[1], NOW + timedelta(minutes=5))
    assert len(lines(store)) == 1


def test_what_is_nobodys_promise_is_not_listed() -> None:
    assert not is_promise_at_risk(Admission("b", "energy_min_kwh", 5.0, 3.0, "level measured below it"))
    assert not is_promise_at_risk(Admission("c", "energy_needed_kwh", 5.0, 8.0, "is there already"))
    assert is_promise_at_risk(Admission("c", "energy_needed_kwh", 5.0, 3.0, "cannot be charged by departure"))
    assert is_promise_at_risk(Admission("p", "window_end", 100.0, 900.0, "the run cannot begin early enough"))
