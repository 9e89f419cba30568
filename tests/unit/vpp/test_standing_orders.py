"""Standing orders: who stays at its baseline to the end of an event when it hears nothing more, and who is let go."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from models.events import Direction, Event, ScopeKind
from models.plan import DispatchPlan
from tests.live import HOUR, T0, battery, charger, curtailable, plan_made, reading, registered, stay, thermal
from vpp.order_limits import OrderLimits
from vpp.standing_orders import LET_GO_OVER, PARTS, PlainOrder, standing_orders
from vpp.state import LiveState

MINUTE = timedelta(minutes=1)
AFTER = T0 + 15 * MINUTE
END = T0 + 2 * HOUR
NAMES = ("battery", "car", "cool", "load")
LONGER = {"car": LET_GO_OVER * 3 / PARTS, "cool": LET_GO_OVER * 1 / PARTS}  # 0.618 and 0.236 of 6 parts


def event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": "e",
        "direction": Direction.SHAVE,
        "scope_kind": ScopeKind.CITY,
        "scope_id": "city",
        "start": T0,
        "end": END,
        "target_kw": 50.0,
        "issued_at": T0 - HOUR,
    }
    return Event(**{**fields, **changes})


def state_with(**session: Any) -> LiveState:
    devices = [registered(battery("battery")), registered(charger("car"))]
    loads = [registered(thermal("cool")), registered(curtailable("load"))]
    state = LiveState([*devices, *loads])
    for name in NAMES:
        state.take(reading(name, 0, 4.0))
    state.take(reading("car", 0.1, 4.0, session=stay(**session)))
    return state


PLAN: DispatchPlan = plan_made(NAMES, np.full((4, 36), 1.0), step=5 * MINUTE, baseline_kw=6.0)


def told(made: list[PlainOrder], state: LiveState) -> dict[str, tuple[datetime, datetime, float | None]]:
    found = {}
    for order in made:
        for row, power_kw in zip(order.rows.tolist(), order.power_kw.tolist(), strict=True):
            live = state.at(row)
            assert live is not None
            kw = None if np.isnan(power_kw) else round(power_kw, 6)
            found[live.resource_id] = order.valid_from, order.valid_until, kw
    return found


def of_cycle(state: LiveState, *events: Event, after: datetime = AFTER, **more: Any) -> Any:
    return told(standing_orders(state, T0 + MINUTE, after, PLAN, events, {"east": {"Z01"}}, **more), state)


def test_air_conditioning_and_cars_with_time_stay_at_their_baseline_until_the_event_ends() -> None:
    state = state_with(departure=T0 + 10 * HOUR)  # 8 h after the event at half of 7 kW
    found = of_cycle(state, event())
    assert found == {name: (AFTER, END + longer, 6.0) for name, longer in LONGER.items()}


@pytest.mark.parametrize(("departure", "needed_kwh"), [(T0 + HOUR, 1.0), (T0 + 4 * HOUR, 8.0), (T0 + 10 * HOUR, 50.0)])
def test_a_car_that_could_not_get_its_energy_afterwards_charges_by_itself(
    departure: datetime, needed_kwh: float
) -> None:
    state = state_with(departure=departure, energy_needed_kwh=needed_kwh)
    assert of_cycle(state, event()).keys() == {"cool"}


@pytest.mark.parametrize(
    "other",
    [
        event(direction=Direction.FILL),
        event(start=AFTER + MINUTE),
        event(end=AFTER),
        event(target_kw=0.0),
        event(scope_kind=ScopeKind.AREA, scope_id="east"),
        event(scope_kind=ScopeKind.AGGREGATOR, scope_id="other"),
    ],
)
def test_no_other_event_holds_anybody(other: Event) -> None:
    state = state_with(departure=T0 + 10 * HOUR)
    assert of_cycle(state, other) == {}


def test_who_is_not_heard_is_told_nothing_new_and_is_not_let_go() -> None:
    state = state_with(departure=T0 + 10 * HOUR)
    of_cycle(state, event())
    state.columns.measured_us[state.rows(["cool"])] -= 10**10
    assert of_cycle(state, event(), after=AFTER + 5 * MINUTE).keys() == {"car"}


def test_whose_event_ends_early_is_let_go_from_then_on_even_if_it_is_not_heard() -> None:
    state = state_with(departure=T0 + 10 * HOUR)
    of_cycle(state, event())
    state.columns.measured_us[state.rows(["cool"])] -= 10**10
    earlier = event(end=END - HOUR)
    found = standing_orders(state, T0 + MINUTE, AFTER, PLAN, [earlier], {})
    until = {name: END - HOUR + longer for name, longer in LONGER.items()}
    assert told(found[:2], state) == {name: (until[name], END + longer, None) for name, longer in LONGER.items()}
    assert told(found[2:], state) == {"car": (AFTER, until["car"], 6.0)}
    assert of_cycle(state) == {name: (AFTER, end, None) for name, end in until.items()}
    assert of_cycle(state) == {}, "once"


def test_who_opts_out_is_let_go_and_so_is_another_car() -> None:
    state = state_with(departure=T0 + 10 * HOUR)
    of_cycle(state, event())
    state.take(reading("car", 0.2, 4.0, session=stay(session_id="s2", departure=END)))
    found = of_cycle(state, event(), opted_out={"cool", "unknown"})
    assert found == {name: (AFTER, END + longer, None) for name, longer in LONGER.items()}


def test_who_registers_later_is_told_too() -> None:
    state = state_with(departure=T0 + 10 * HOUR)
    of_cycle(state, event())
    for k in range(100):
        state.put(registered(thermal(f"new{k}")))
    state.take(reading("new99", 0, 4.0))
    plan = plan_made((*NAMES, "new99"), np.full((5, 36), 1.0), step=5 * MINUTE, baseline_kw=6.0)
    found = told(standing_orders(state, T0 + MINUTE, AFTER, plan, [event()], {}), state)
    assert found.keys() == {"car", "cool", "new99"}


def test_in_the_last_cycles_of_an_event_a_building_is_held_as_long_as_their_orders_hold() -> None:
    state = state_with(departure=T0 + 10 * HOUR)
    of_cycle(state, event())
    cool = state.rows(["cool"])
    state.columns.ordered_kw[cool] = 3.0
    last = END + MINUTE
    assert of_cycle(state, event(), after=last) == {name: (last, END + more, None) for name, more in LONGER.items()}
    at_baseline = OrderLimits(state).released(cool, np.array([6.0]), np.array([6.0]))
    assert not at_baseline.any(), "let go ten minutes early it would take back what is still missing then"
    standing_orders(state, last, last + 10 * MINUTE, PLAN, [], {})
    assert OrderLimits(state).released(cool, np.array([6.0]), np.array([6.0])).all()
