import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sqlalchemy import select, update

from adapters.store import Store, schema
from adapters.store.arrays import PART_BYTES, pack_array, unpack_array
from models.errors import InputError, StoreError
from models.events import Event, EventRecord, EventStep, ScopeKind
from models.intervals import IntervalGrid
from models.life_cycle import EventStatus
from models.plan import Admission, DispatchPlan, PlanSource, Requirement, RequirementAmount
from models.records import PlanKind

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)
GRID = IntervalGrid.real_time(NOON, windows=[(NOON + timedelta(minutes=7), NOON + timedelta(hours=1))])


def event(name: str, hour: int = 0) -> EventRecord:
    start = NOON + timedelta(hours=hour)
    ordered = Event(event_id=name, start=start, end=start + timedelta(hours=1), target_kw=100.5, issued_at=NOON)
    step = EventStep(status=EventStatus.DECLARED, at=NOON, by="wang", reason="热浪")
    return EventRecord(event=ordered, status=EventStatus.DECLARED, steps=(step,), accepted_kw={"sun": None})


def plan(ids: tuple[str, ...] = ("a", "b"), made_at: datetime | None = NOON, **changes: object) -> DispatchPlan:
    values = np.arange(len(ids) * len(GRID), dtype=float).reshape(len(ids), len(GRID)) / 7
    unmet = RequirementAmount(Requirement.EVENT_TARGET, ScopeKind.CITY, "", NOON, 0.1 + 0.2, "e")
    price = RequirementAmount(Requirement.ZONE_LIMIT, ScopeKind.ZONE, "z", NOON, 1e-17)
    facts: dict[str, object] = {
        "grid": GRID,
        "resource_ids": ids,
        "power_kw": values,
        "energy_kwh": np.full_like(values, np.nan),
        "baseline_kw": -values,
        "baseline_energy_kwh": np.full_like(values, -0.0),
        "status": "optimal",
        "source": PlanSource.RULE,
        "objective_cny": 1 / 3,
        "baseline_cost_cny": 2.0,
        "lower_bound_cny": float("-inf"),
        "iterations": 3,
        "wall_s": 0.25,
        "penalties": {"shortfall": 50.0},
        "unmet": (unmet,),
        "prices": (price,),
        "admissions": (Admission("a", "energy_end_min_kwh", 5.0, 4.0, "silent", "s"),),
        "peak_rss_mb": 12.5,
        "made_at": made_at,
    }
    return DispatchPlan(**{**facts, **changes})  # type: ignore[arg-type]


def same(one: DispatchPlan, other: DispatchPlan) -> bool:
    arrays = ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh")
    equal = all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in arrays)
    names = set(vars(one)) - set(arrays)
    return equal and all(getattr(one, name) == getattr(other, name) for name in names)


# ---- events


def test_an_event_keeps_its_whole_life(store: Store) -> None:
    version = store.save_event(event("e"))
    stored = store.event("e")
    assert stored is not None
    assert (stored.record, stored.version) == (event("e"), version)
    assert store.event("nothing") is None


def test_who_changes_an_event_that_changed_meanwhile_must_read_it_again(store: Store) -> None:
    version = store.save_event(event("e"))
    approved = event("e").stepped(EventStatus.APPROVED, NOON, "li")
    store.save_event(approved, version)
    for stale in (0, version, version + 5):
        with pytest.raises(StoreError, match="read it again"):
            store.save_event(event("e").stepped(EventStatus.CANCELLED, NOON, "zhao"), stale)
    stored = store.event("e")
    assert stored is not None
    assert stored.record == approved


def test_an_event_is_changed_in_one_step(store: Store) -> None:
    store.save_event(event("e"))
    store.update_event("e", lambda record: record.stepped(EventStatus.APPROVED, NOON, "li"))
    stored = store.event("e")
    assert stored is not None
    assert [step.by for step in stored.record.steps] == ["wang", "li"]
    with pytest.raises(InputError, match="not known"):
        store.update_event("nothing", lambda record: record)


def test_events_are_listed_by_status_time_and_page(store: Store) -> None:
    for hour in range(6):
        store.save_event(event(f"e{hour}", hour // 2))
    store.update_event("e5", lambda record: record.stepped(EventStatus.CANCELLED, NOON, "li"))
    names = [record.event.event_id for record in store.events()]
    assert names == ["e5", "e4", "e3", "e2", "e1", "e0"]
    assert [r.event.event_id for r in store.events(EventStatus.CANCELLED)] == ["e5"]
    assert len(store.events({EventStatus.DECLARED, EventStatus.CANCELLED})) == 6
    assert len(store.events(since=NOON + timedelta(hours=2))) == 2, "those that end at two are over"
    paged: list[str] = []
    before: tuple[datetime, str] | None = None
    while page := store.events(before=before, limit=4):
        paged += [record.event.event_id for record in page]
        before = (page[-1].event.start, page[-1].event.event_id)
    assert paged == names


# ---- plans and baselines


def test_a_plan_comes_back_bit_by_bit_with_the_same_hash(store: Store) -> None:
    made = plan()
    store.save_plan("day_ahead", date(2025, 7, 16), made)
    for found in (
        store.plan_by_hash(made.plan_hash),
        store.latest_plan("day_ahead"),
        store.plan_of_day(date(2025, 7, 16)),
    ):
        assert found is not None
        assert same(found, made)
        assert (found.plan_hash, found.baseline_hash) == (made.plan_hash, made.baseline_hash)


def test_a_plan_of_an_older_release_that_says_more_of_it_is_still_read(store: Store) -> None:
    made = plan()
    store.save_plan("real_time", date(2025, 7, 16), made)
    with store._db.writing() as connection:
        facts = json.loads(connection.execute(select(schema.plans.c.facts)).scalar_one())
        facts["water_values"] = {"b": [0.25] * len(GRID)}
        connection.execute(update(schema.plans).values(facts=json.dumps(facts)))
    found = store.latest_plan("real_time")
    assert found is not None
    assert same(found, made)


def test_the_latest_plan_is_the_one_made_last_before_a_moment(store: Store) -> None:
    for minute in (0, 10, 5):
        at = NOON + timedelta(minutes=minute)
        store.save_plan(PlanKind.REAL_TIME, date(2025, 7, 16), plan(made_at=at, objective_cny=float(minute)))
    assert store.latest_plan("day_ahead") is None
    assert store.plan_by_hash("0" * 64) is None
    assert store.plan_of_day(date(2025, 7, 16)) is None
    for until, expected in ((None, 10.0), (NOON + timedelta(minutes=7), 5.0), (NOON, 0.0)):
        found = store.latest_plan("real_time", until)
        assert found is not None
        assert found.objective_cny == expected
    assert store.latest_plan("real_time", NOON - timedelta(seconds=1)) is None


def test_a_plan_without_a_time_cannot_be_stored(store: Store) -> None:
    with pytest.raises(InputError, match="made_at"):
        store.save_plan("real_time", date(2025, 7, 16), plan(made_at=None))


def test_an_empty_plan_is_a_plan(store: Store) -> None:
    nothing = plan(ids=(), unmet=(), prices=(), admissions=())
    store.save_plan("real_time", date(2025, 7, 16), nothing)
    found = store.latest_plan("real_time")
    assert found is not None
    assert same(found, nothing)


def test_arrays_larger_than_one_value_are_kept_in_parts() -> None:
    values = np.random.default_rng(1).normal(size=(PART_BYTES // 8 // 100 * 2 + 17, 100))
    parts = dict(enumerate(pack_array(values)))
    assert len(parts) == 3
    assert unpack_array(parts, values.shape).tobytes() == values.tobytes()
    del parts[1]
    with pytest.raises(StoreError, match="incomplete"):
        unpack_array(parts, values.shape)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 5), st.just(len(GRID)))))
def test_any_baseline_comes_back_bit_by_bit(store: Store, values: np.ndarray) -> None:
    ids = tuple(f"r{k}" for k in range(len(values)))
    name = f"hash-{hash(values.tobytes()) & 0xFFFFFF:x}"
    store.save_baseline(date(2025, 7, 16), GRID, ids, values, name)
    found = store.baseline(date(2025, 7, 16), name)
    assert found is not None
    assert (found.grid, found.resource_ids) == (GRID, ids)
    assert found.baseline_kw.tobytes() == values.tobytes()


def test_a_pinned_baseline_survives_a_newer_one(store: Store) -> None:
    day = date(2025, 7, 16)
    first, second = np.zeros((1, len(GRID))), np.ones((1, len(GRID)))
    assert store.baseline(day) is None
    store.save_baseline(day, GRID, ("a",), first, "first")
    store.save_baseline(day, GRID, ("a",), second, "second")
    store.save_baseline(day, GRID, ("a",), first, "first")
    newest, pinned = store.baseline(day), store.baseline(day, "first")
    assert newest is not None
    assert pinned is not None
    assert newest.baseline_hash == "second"
    assert pinned.baseline_kw.tobytes() == first.tobytes()


def test_of_real_time_only_the_newest_plans_are_kept(store: Store) -> None:
    store.save_plan(PlanKind.DAY_AHEAD, date(2025, 7, 16), plan(made_at=NOON, objective_cny=7.0))
    for minute in range(4):
        store.keep_real_time_plan(plan(made_at=NOON + timedelta(minutes=minute), objective_cny=float(minute)), 2)
    found = [store.latest_plan("real_time", NOON + timedelta(minutes=minute)) for minute in range(4)]
    assert [each if each is None else each.objective_cny for each in found] == [None, None, 2.0, 3.0]
    day = store.latest_plan("day_ahead")
    assert day is not None
    assert day.objective_cny == 7.0
    with pytest.raises(InputError, match="made_at"):
        store.keep_real_time_plan(plan(made_at=None))


def test_what_a_plan_came_to_is_known_longer_than_its_schedule(store: Store) -> None:
    plans = [
        plan(made_at=NOON + timedelta(minutes=k), objective_cny=float(k), power_kw=np.full((2, len(GRID)), float(k)))
        for k in range(4)
    ]
    for each in plans[:3]:
        store.keep_real_time_plan(each, 2)
    store.keep_real_time_plan(plans[3], 2, whole=False)
    kept = [store.plan_by_hash(each.plan_hash) for each in plans]
    assert [each is not None for each in kept] == [False, True, True, False]
    for k, each in enumerate(plans):
        facts = store.plan_facts(each.plan_hash)
        assert facts is not None
        assert (facts.objective_cny, facts.made_at, facts.delivered_at) == (k, each.made_at, None)
    store.plan_delivered(plans[0].plan_hash, NOON)
    facts, newest = store.plan_facts(plans[0].plan_hash), store.newest_plan_facts(PlanKind.REAL_TIME)
    assert facts is not None
    assert newest is not None
    assert facts.delivered_at == NOON
    assert (newest.plan_hash, newest.delivered_at) == (plans[3].plan_hash, None)
    assert store.plan_facts("unknown") is None
