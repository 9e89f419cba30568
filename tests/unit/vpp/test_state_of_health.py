"""Old batteries hold less than their nameplates say, and plans count on what they hold."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.store import Store
from models.conduct import Misconduct
from models.events import Direction
from models.fleet import Fleet
from models.intervals import IntervalGrid
from models.resources import ResourceKind
from tests.live import T0, battery, curtailable, reading, registered, store_of
from vpp.call_sheet import CallSheet
from vpp.conduct import ConductStage
from vpp.metrics import Metrics
from vpp.planning_rows import PlanningRows
from vpp.planning_tables import PlanningTables
from vpp.problem_states import states_of
from vpp.state import LiveState

ETA = 0.95
"""Both efficiencies of ``tests.live.battery``, whose level goes from 10 to 100 kWh by its nameplate."""
FLOOR_KWH = 10.0 + 0.05 * 90.0
"""Nothing is promised of what lies below: its gauge may be off by so much."""
GRID = IntervalGrid.regular(T0, timedelta(minutes=15), 4)


def state(*names: str) -> LiveState:
    return LiveState([registered(battery(name)) for name in names] + [registered(curtailable())])


def run(known: LiveState, name: str, health: float, power_kw: list[float], *, first_min: int = 0) -> float:
    """Let an old battery follow these powers, one reading a minute; its last level as it tells it, kWh."""
    told_kwh = 60.0
    for minute, power in enumerate([0.0, *power_kw]):
        into_kw = power * ETA if power > 0 else power / ETA
        told_kwh += into_kw / 60 / health
        known.take(reading(name, first_min + minute, power, energy_kwh=told_kwh))
    return told_kwh


def sums(known: LiveState, name: str) -> tuple[float, float]:
    """What has flowed, and what was told of it, kWh."""
    (row,) = known.rows([name])
    return float(known.columns.flowed_kwh[row]), float(known.columns.told_kwh[row])


RUNS = st.lists(st.one_of(st.just(0.0), st.floats(-40.0, -5.0), st.floats(5.0, 50.0)), min_size=20, max_size=60)


@given(health=st.floats(0.6, 1.0), power_kw=RUNS)
def test_what_it_holds_is_known_after_a_twentieth_of_it_has_moved(health: float, power_kw: list[float]) -> None:
    known = state("old")
    row = known.rows(["old"])
    told_kwh = run(known, "old", health, power_kw)
    moved_kwh = sum(p * ETA if p > 0 else -p / ETA for p in power_kw) / 60
    if moved_kwh > 0.06 * 90.0:
        assert known.health.share(row) == pytest.approx([health], rel=1e-6)
        now = T0 + timedelta(minutes=len(power_kw))
        assert known.health.stored_kwh(row, now) == pytest.approx([health * told_kwh], rel=1e-6)
    elif moved_kwh < 0.04 * 90.0:
        assert known.health.share(row) == pytest.approx([1.0]), "too little to tell"


def test_nobody_is_moved_on_between_readings_by_what_its_nameplate_says() -> None:
    """40 kW for two minutes take 1.4 kWh out of cells that hold 80 %: 1.75 kWh by its own telling."""
    known = state("old")
    told_kwh = run(known, "old", 0.8, [-40.0] * 30)
    stored = known.health.stored_kwh(known.rows(["old"]), T0 + timedelta(minutes=32))
    assert stored == pytest.approx([0.8 * told_kwh - 2 / 60 * 40.0 / ETA])


def test_who_has_not_moved_is_taken_for_the_middle_one_and_loads_are_no_batteries() -> None:
    known = state("a", "b", "c", "new")
    for name, health in (("a", 0.7), ("b", 0.85), ("c", 0.9)):
        run(known, name, health, [-40.0] * 20)
    rows = known.rows(["a", "b", "c", "new", "load"])
    assert known.health.share(rows) == pytest.approx([0.7, 0.85, 0.9, 0.85, 1.0])
    assert known.health.is_known(rows).tolist() == [True, True, True, False, False]


def test_the_newest_cycle_counts_most() -> None:
    """New cells: what the old ones showed is forgotten as energy flows."""
    known = state("old")
    back_and_forth = [-40.0, *[38.0, -38.0] * 60]
    run(known, "old", 0.7, back_and_forth)
    run(known, "old", 0.95, back_and_forth * 4, first_min=1000)
    assert known.health.share(known.rows(["old"])) == pytest.approx([0.95], abs=0.01)


def test_a_trickle_that_only_makes_up_for_what_leaks_teaches_nothing() -> None:
    known = state("full")
    for minute in range(600):
        known.take(reading("full", 15.0 * minute, 1.5, energy_kwh=99.0 + 0.001 * (minute % 2)))
    assert sums(known, "full") == (0.0, 0.0)


def test_a_meter_that_lies_teaches_nothing() -> None:
    known = state("old")
    row = known.rows(["old"])
    run(known, "old", 0.8, [-40.0] * 20)
    before = sums(known, "old")
    level = 50.0
    for minute in range(100, 120):  # frozen: power flows, and the level stands still
        known.take(reading("old", minute, -40.0, energy_kwh=level))
    for minute in range(200, 220):  # wrong sign: it fills while it gives
        level += 0.7
        known.take(reading("old", minute, -40.0, energy_kwh=level))
    for k in range(5):  # readings too far apart
        known.take(reading("old", 300 + 60 * k, -10.0, energy_kwh=level - 10 * k))
    known.take(reading("old", 601, -40.0, energy_kwh=30.0))
    known.take(reading("old", 602, -40.0, energy_kwh=24.0))  # a gauge that is set right by 5 kWh
    known.columns.misconduct[row] = Misconduct.WRONG_SCALE
    for minute in range(603, 613):
        known.take(reading("old", minute, -40.0, energy_kwh=24.0 - 0.5 * (minute - 602)))
    flowed, told = sums(known, "old")
    assert flowed / told == pytest.approx(before[0] / before[1], rel=0.02)
    assert flowed < before[0] + 1.5, "at most the honest pairs between"


def test_plans_states_and_calls_count_on_what_is_there() -> None:
    known = state("old")
    told_kwh = run(known, "old", 0.8, [-40.0] * 20)
    now, everyone = T0 + timedelta(minutes=20), np.ones(len(known.columns.measured_us), dtype=np.bool_)
    table = PlanningTables(known).make(everyone, everyone, None, None, {"old": 95.0}, now=now)[ResourceKind.STORAGE]
    found = {name: float(table.columns[name][0]) for name in ("energy_min_kwh", "energy_max_kwh", "energy_start_kwh")}
    assert found == pytest.approx({"energy_min_kwh": 0.8 * FLOOR_KWH, "energy_max_kwh": 80.0, "energy_start_kwh": 40.0})
    assert float(table.columns["energy_end_min_kwh"][0]) == pytest.approx(80.0), "no more than it holds"
    frozen = PlanningTables(known).make(everyone, everyone, None, everyone, now=now)[ResourceKind.STORAGE]
    assert float(frozen.columns["energy_max_kwh"][0]) == pytest.approx(0.8 * told_kwh)
    fleet = Fleet.from_rows([battery("old")])
    planning = PlanningRows(known, ZoneInfo("Asia/Shanghai"), lambda _a, _b: None)
    states = states_of(known, planning, fleet, now, GRID, ZoneInfo("Asia/Shanghai"))
    assert states["old"].energy_kwh == pytest.approx(0.8 * told_kwh)
    sheet, row = CallSheet(known), known.rows(["old"])
    sheet.make()
    hours, nothing = 4.0, np.zeros(1)
    for direction, room_kwh in (
        (Direction.SHAVE, 0.8 * (told_kwh - FLOOR_KWH) * ETA),
        (Direction.FILL, 0.8 * (100.0 - told_kwh) / ETA),
    ):
        offers = sheet.offers(row, direction, nothing, nothing, np.ones(1), now, hours)
        assert offers.power_kw == pytest.approx([room_kwh / hours])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_of(tmp_path, battery("old")) as made:
        yield made


async def test_what_is_learned_of_many_is_kept_piece_by_piece(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpp.conduct.MOST_KEPT", 2)
    names = [f"b{k}" for k in range(5)]
    assert store.upsert_resources([registered(battery(name)) for name in names]) == {}
    known = LiveState(store.resources())
    stage = ConductStage(state=known, cycle=timedelta(minutes=5), metrics=Metrics(), store=store)
    for name in names:
        run(known, name, 0.8, [-40.0] * 20)
    counts = []
    for _ in range(4):
        await stage.keep()
        counts.append(len(store.conduct()))
    assert counts == [2, 4, 5, 5]


async def test_it_is_known_again_after_a_restart(store: Store) -> None:
    known = LiveState(store.resources())
    run(known, "old", 0.8, [-40.0] * 20)
    stage = ConductStage(state=known, cycle=timedelta(minutes=5), metrics=Metrics(), store=store)
    await stage.keep()
    kept = store.conduct()
    assert [each.resource_id for each in kept] == ["old"]
    await stage.keep()
    assert stage.state_of_health("old") == pytest.approx(0.8)
    assert stage.state_of_health("nobody") is None
    again = LiveState(store.resources())
    ConductStage(state=again, cycle=timedelta(minutes=5), metrics=Metrics(), store=store).take_up(kept)
    assert again.health.share(again.rows(["old"])) == pytest.approx([0.8])
    again.take(reading("old", 60, -40.0, energy_kwh=40.0))
    assert again.health.share(again.rows(["old"])) == pytest.approx([0.8])
