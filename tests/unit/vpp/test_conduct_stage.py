"""Who is told to begin early is not taken for one that does nothing when its order proper begins."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from adapters.store import Store
from models.conduct import Misconduct
from models.moments import microseconds
from models.telemetry import ChargingSession
from tests.live import HOUR, T0, charger, curtailable, reading, store_of
from vpp.conduct import ConductStage
from vpp.metrics import Metrics
from vpp.state import LiveState

CYCLE = timedelta(minutes=5)
BASELINE_KW, ORDERED_KW = 50.0, 20.0
"""The baseline is too low by half: what a device did is seen beside what it drew before."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_of(tmp_path, curtailable("hall")) as made:
        yield made


@pytest.mark.parametrize(("cycle_min", "cycles"), [(5, 2), (1, 10)])
async def test_who_has_not_moved_in_ten_minutes_does_not_respond(store: Store, cycle_min: int, cycles: int) -> None:
    cycle = timedelta(minutes=cycle_min)
    state = LiveState(store.resources())
    judge = ConductStage(state=state, cycle=cycle, metrics=Metrics(), store=store)
    columns, row = state.columns, state.rows(["hall"])
    judged = []
    for k in range(cycles + 1):  # ordered from the second cycle on
        columns.ordered_kw[row] = ORDERED_KW if k else np.nan
        columns.ordered_until_us[row] = microseconds(T0 + 100 * cycle)
        state.take(reading("hall", cycle_min * (k + 1.0), 50.0 + 0.1 * k))
        columns.received_us[row] = microseconds(T0 + cycle * (k + 1))
        await judge.after_cycle(T0 + cycle * (k + 1), {"hall": BASELINE_KW})
        judged.append(Misconduct(int(columns.misconduct[row[0]])))
    assert judged == [Misconduct.NONE] * cycles + [Misconduct.NO_RESPONSE]


@pytest.mark.parametrize(
    ("drawn_kw", "found"),
    [([100.0, 75.0, 71.0, 70.0, 72.0], Misconduct.NONE), ([100.0, 101.0, 99.0, 101.0, 100.0], Misconduct.NO_RESPONSE)],
)
async def test_what_it_drew_while_it_began_is_not_what_it_drew_before(
    store: Store, drawn_kw: list[float], found: Misconduct
) -> None:
    state = LiveState(store.resources())
    judge = ConductStage(state=state, cycle=CYCLE, metrics=Metrics(), store=store)
    columns, row = state.columns, state.rows(["hall"])
    for k, power_kw in enumerate(drawn_kw):  # early in the second cycle, under its order from the third on
        columns.begins_early[row] = k == 1
        columns.ordered_kw[row] = ORDERED_KW if k >= 2 else np.nan
        columns.ordered_until_us[row] = microseconds(T0 + 10 * CYCLE)
        state.take(reading("hall", 5.0 * (k + 1), power_kw))
        columns.received_us[row] = microseconds(T0 + CYCLE * (k + 1))
        await judge.after_cycle(T0 + CYCLE * (k + 1), {"hall": BASELINE_KW})
    assert Misconduct(int(columns.misconduct[row[0]])) is found


@pytest.mark.parametrize(
    ("missing_kwh", "found"), [(0.45, Misconduct.NONE), (1.1, Misconduct.NONE), (3.0, Misconduct.NO_RESPONSE)]
)
async def test_a_car_that_may_be_full_is_not_blamed_for_drawing_nothing(
    tmp_path: Path, missing_kwh: float, found: Misconduct
) -> None:
    """A charger's meter is a hundredth or two off: half a kWh that it still counts as missing fits into no battery."""
    with store_of(tmp_path, charger()) as store:
        state = LiveState(store.resources())
        judge = ConductStage(state=state, cycle=CYCLE, metrics=Metrics(), store=store)
        columns, row = state.columns, state.rows(["charger"])
        car = ChargingSession(session_id="s", arrival=T0 - HOUR, departure=T0 + 6 * HOUR, energy_needed_kwh=40.0)
        for k in range(4):
            columns.ordered_kw[row] = 6.4 if k else np.nan
            columns.ordered_until_us[row] = microseconds(T0 + 10 * CYCLE)
            state.take(reading("charger", 5.0 * (k + 1), 0.0, session=car, energy_kwh=40.0 - missing_kwh))
            columns.received_us[row] = microseconds(T0 + CYCLE * (k + 1))
            await judge.after_cycle(T0 + CYCLE * (k + 1), {"charger": 0.0})
        assert Misconduct(int(columns.misconduct[row[0]])) is found
