"""After a restart, also one that nobody announced (``kill -9``): what was going on goes on.

Everything that the stages remember stands in the database, or follows from what stands there:

    day plans, baseline tables      as they were, same fingerprints (``DayAheadStage.restore``)
    events, answers, commitments    as they were; deadlines and ramps follow from the steps of each event
    readings, stays of cars         the newest are heard again, in the order of time
    orders in force, refusals,      from the setpoints that were sent and what was answered to them
    what loads gave up today
    the plan in force               by the fingerprint of the newest orders (``vpp.plan_in_force``)
    notices that were not told      told once the gateways are back (``vpp.event_outbox``)
    commands without an answer      sent again as often as is left (``Outgoing.take_up``)
    how devices behave, quarantine  as last kept (what a device gives within 5 %)
    what running events delivered   from the readings: what the hour owes is not forgotten; what lasts is learned again
                                    within two or three cycles

Sequence numbers go on in the database by themselves.  The first cycle after the start is the next one of the clock:
until then every device does what it was sent last.  Where a cycle was missed or cut off in its midst, or an emergency
was approved and not called, it is run at once.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import structlog

from models.conduct import REFUSAL_HOLDS
from models.errors import InputError
from models.events import EventRecord, NoticeType
from models.intervals import IntervalGrid
from models.life_cycle import JUDGED, EventStatus
from models.moments import microseconds
from models.plan import PlanSource
from models.reading_columns import ReadingColumns
from models.records import AckOutcome, BaselineTable, PlanKind, SentSetpoint, SessionRecord
from models.resources import EvCharger, Generator, ShiftableLoad, Storage, ThermalLoad
from models.settlement.performance import delivered_kw
from models.telemetry import ChargingSession, Reading
from vpp.baseline_table import merged_baseline
from vpp.charged import charged_so_far
from vpp.events import LOADED_BACK
from vpp.feedback import MeasuredCycle
from vpp.history import metered_on
from vpp.ramp import next_cycle
from vpp.resource_live import ResourceLive
from vpp.runtime import Runtime
from vpp.state import LiveState

log = structlog.get_logger(__name__)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
STAYS_HEARD = timedelta(hours=48)
NOT_OVER = tuple(set(EventStatus) - JUDGED - {EventStatus.CANCELLED})


async def _delivered_so_far(runtime: Runtime, records: Sequence[EventRecord], now: datetime, cycle: timedelta) -> None:
    """What running events have delivered in cycles that have been looked back at: their hour may owe some of it."""
    until = runtime.looked_back_until(now)
    for record in map(runtime.events.judged, records):
        event = record.event
        if not record.status.runs or until - event.start < cycle:
            continue
        try:
            day = await runtime.measured(event.start, until)
        except InputError as error:
            log.warning("what an event delivered is not known", event_id=event.event_id, error=str(error))
            continue
        members = np.array([runtime.in_scope(name, event) for name in day.resource_ids], dtype=np.bool_)
        moved_kw = delivered_kw(day.baseline_kw[members], day.metered.power_kw[members], event.direction).sum(axis=0)
        feedback = runtime.real_time.feedback_of(event.event_id)
        ordered_kw = runtime.events.ordered_kw(record, day.grid).tolist()
        for start, end, ordered, moved in zip(
            day.grid.starts, day.grid.ends, ordered_kw, moved_kw.tolist(), strict=True
        ):
            feedback.take(MeasuredCycle(start, end, ordered, moved), None)


async def take_up(runtime: Runtime, cycle: timedelta, on_session: Callable[[Reading], None]) -> None:
    """Fill the stages of ``runtime`` with what its store knows; ``StoreError`` if that does not answer."""
    now, store, state = runtime.clock.now(), runtime.store, runtime.state
    known = await asyncio.to_thread(lambda: [*store.events(NOT_OVER), *store.events(since=now - LOADED_BACK)])
    ids = sorted({record.event.event_id for record in known})
    stored = await asyncio.to_thread(lambda: [each for name in ids if (each := store.event(name)) is not None])
    today = now.astimezone(runtime.zone).date()
    event_days = {each.record.event.start.astimezone(runtime.zone).date() for each in stored}
    for day in sorted(_with_neighbours({today, *event_days})):
        await runtime.day_ahead.restore(day)
    if today not in runtime.day_ahead.days and any(day < today for day in runtime.day_ahead.days):
        runtime.days_wanted.add(today)  # it was down when today should have been planned
    runtime.events.load(stored)
    await runtime.events.take_up_notices()
    heard = await asyncio.to_thread(_hear_again, runtime, now, on_session)
    runtime.conduct.take_up(await asyncio.to_thread(store.conduct))
    await _delivery(runtime, now)
    sent = await asyncio.to_thread(store.setpoints_since, now - DAY)
    tables = runtime.baseline_tables()
    _orders_in_force(state, sent, now)
    _refusals(state, sent, now)
    _given_up(state, sent, tables, cycle)
    await asyncio.to_thread(_comfort, runtime, sent, tables, now, cycle)
    await _delivered_so_far(runtime, [each.record for each in stored], now, cycle)
    if heard or stored or runtime.day_ahead.days:
        log.info(
            "taken up where it was left",
            events=[each.record.event.event_id for each in stored],
            days=[str(day) for day in sorted(runtime.day_ahead.days)],
            readings=heard,
        )


def _with_neighbours(days: Iterable[date]) -> set[date]:
    return {day + step * DAY for day in days for step in (-1, 0, 1)}


# ---- readings and stays


def _hear_again(runtime: Runtime, now: datetime, on_session: Callable[[Reading], None]) -> int:
    """Let the live state hear the newest readings again; how far back depends on what a kind remembers."""
    state, store = runtime.state, runtime.store
    records = store.sessions(now - STAYS_HEARD, now + DAY)
    _long_stays(state, records, now)
    heard, later = 0, now + timedelta(hours=1)

    def hear(piece: ReadingColumns) -> None:
        nonlocal heard
        heard += len(piece)
        taken = state.take_columns(piece)
        for place in sorted(piece.sessions):
            if taken[place]:
                on_session(piece[place])

    chargers = [live.resource_id for live in state if isinstance(live.record.resource, EvCharger)]
    told = list(store.reading_columns(chargers, now - STAYS_HEARD, later, only_sessions=True)) if chargers else []
    slow = [live.resource_id for live in state if _remembers_a_day(live.record.resource)]
    whole = list(store.reading_columns(slow, now - DAY, later)) if slow else []
    if told or whole:
        hear(ReadingColumns.joined([*told, *whole]))
    hear(store.newest_readings(now - _longest_ttl(state), later))  # of the others that is all that counts
    charged_so_far(state, store, told, now - STAYS_HEARD, later)
    return heard


def _longest_ttl(state: LiveState) -> timedelta:
    longest_s = max((live.record.telemetry_ttl_s for live in state), default=0.0)
    return min(max(timedelta(seconds=longest_s), HOUR), DAY)


def _remembers_a_day(resource: object) -> bool:
    """True of whom every reading of a day must be heard again: how long an engine or a pump has been running, and what
    a process has used today, follows from them.
    """
    is_hydro = isinstance(resource, Storage) and resource.is_pumped_hydro
    return is_hydro or isinstance(resource, ShiftableLoad | Generator)


def _long_stays(state: LiveState, records: Sequence[SessionRecord], now: datetime) -> None:
    """Cars that came so long ago that their arrival is not among the readings that are heard again."""
    for record in records:
        live = state.get(record.resource_id)
        if live is None or record.unplugged_at is not None or record.arrival > now - STAYS_HEARD:
            continue
        live.session = ChargingSession(
            session_id=record.session_id,
            arrival=record.arrival,
            departure=record.departure,
            energy_needed_kwh=record.energy_needed_kwh,
            battery_capacity_kwh=record.battery_capacity_kwh,
            battery_start_kwh=record.battery_start_kwh,
        )
        live.session_delivered_kwh = record.delivered_kwh or 0.0


# ---- orders


async def _delivery(runtime: Runtime, now: datetime) -> None:
    """The newest delivery: its plan is in force, and its commands may be sent again.

    Its cycle has been run if all of it had left: a kill in the midst of it leaves aggregators that were told nothing.
    """
    newest = await asyncio.to_thread(runtime.store.newest_delivery, now)
    if newest is None:
        if _is_called_since(runtime, None):
            runtime.catch_up()
        return
    executed_hash, sent_at = newest
    plan = await runtime.in_force.take_up(executed_hash)
    if plan is not None and plan.source in (PlanSource.FAST, PlanSource.REFERENCE):
        runtime.real_time.ladder.published(plan, runtime.events.planned(now))  # should the first cycle fail
    made = await asyncio.to_thread(runtime.store.newest_plan_facts, PlanKind.REAL_TIME)
    if (
        made is not None and made.delivered_at is None
    ):  # cut off, or a call, which leaves the cycle of its time to be run
        runtime.catch_up()
    else:
        runtime.has_cycled(sent_at)
        if _is_called_since(runtime, sent_at) or runtime.has_missed_a_cycle():
            runtime.catch_up()
    await runtime.delivery.take_up(executed_hash)


def _is_called_since(runtime: Runtime, moment: datetime | None) -> bool:
    """True if an emergency that runs was approved then or later: no order of it has left."""
    return any(
        step.status is EventStatus.APPROVED and (moment is None or step.at >= moment)
        for record in runtime.events.active()
        if record.notice_type is NoticeType.EMERGENCY
        for step in record.steps
    )


def _orders_in_force(state: LiveState, sent: Sequence[SentSetpoint], now: datetime) -> None:
    told_us = state.columns.told_until_us
    for setpoint in sent:
        live = state.get(setpoint.resource_id)
        if live is None:
            continue
        told_us[live.row] = max(told_us[live.row], microseconds(setpoint.valid_until))
        if setpoint.valid_from <= now:
            live.ordered_kw = None if setpoint.outcome is AckOutcome.REFUSED else setpoint.power_kw
            live.ordered_until = setpoint.valid_until


def _refusals(state: LiveState, sent: Sequence[SentSetpoint], now: datetime) -> None:
    """Who has just refused an order; what came too late, or behind a newer one, is not the devices' word."""
    batches: dict[tuple[str, int], list[SentSetpoint]] = {}
    begins: dict[str, list[tuple[int, datetime]]] = {}
    for setpoint in sent:
        begins.setdefault(setpoint.resource_id, []).append((setpoint.sequence, setpoint.valid_from))
        live = state.get(setpoint.resource_id)
        if live is not None:
            batches.setdefault((live.record.aggregator_id, setpoint.sequence), []).append(setpoint)
    for members in batches.values():
        refused = [each for each in members if each.outcome is AckOutcome.REFUSED and each.answered_at is not None]
        if len(members) > 1 and len(refused) == len(members):
            continue
        for each in refused:
            live, at = state.get(each.resource_id), each.answered_at
            if live is None or at is None or at + REFUSAL_HOLDS <= now:
                continue
            if not any(number > each.sequence and begin <= at for number, begin in begins[each.resource_id]):
                live.refused_until = at + REFUSAL_HOLDS


def _given_up(
    state: LiveState, sent: Sequence[SentSetpoint], tables: Sequence[BaselineTable], cycle: timedelta
) -> None:
    """What loads were told to give up; a setpoint outlives its stretch, which ends with a cycle, by one at most."""
    known: dict[tuple[datetime, datetime], Mapping[str, Any]] = {}
    for setpoint in sent:
        live = state.get(setpoint.resource_id)
        start, end = setpoint.valid_from, next_cycle(setpoint.valid_until, cycle) - cycle
        if live is None or not live.can_give_up or end <= start:
            continue
        if setpoint.power_kw is None or setpoint.outcome is AckOutcome.REFUSED:
            live.give_up(start, end, 0.0, 0.0)
            continue
        if (start, end) not in known:
            known[start, end] = merged_baseline(tables, IntervalGrid((start, end)))
        baseline = known[start, end].get(live.resource_id)
        if baseline is not None:
            live.give_up(start, end, max(0.0, float(baseline[0]) - setpoint.power_kw), float(baseline[0]))


def _comfort(
    runtime: Runtime, sent: Sequence[SentSetpoint], tables: Sequence[BaselineTable], now: datetime, cycle: timedelta
) -> None:
    """Comfort stores of buildings that do not tell theirs: what they drew beside their baseline under our orders."""
    ordered: dict[str, list[SentSetpoint]] = {}
    for setpoint in sent:
        live = runtime.state.get(setpoint.resource_id)
        if live is not None and _must_integrate(live):
            ordered.setdefault(setpoint.resource_id, []).append(setpoint)
    ordered = {name: orders for name, orders in ordered.items() if any(_moves(each) for each in orders)}
    if not ordered:
        return
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight + cycle * ((now - midnight) // cycle)
    begin = min(each.valid_from for orders in ordered.values() for each in orders if _moves(each))
    if begin >= end:
        return
    grid = IntervalGrid.regular(begin, cycle, -(-(end - begin) // cycle))
    names = sorted(ordered)
    power = metered_on(runtime.store.readings(names, begin - timedelta(hours=1), now), names, grid)
    baseline = merged_baseline(tables, grid)
    for row, name in enumerate(names):
        live = runtime.state.get(name)
        if live is None or name not in baseline:
            continue
        moved = np.where(_under_order(ordered[name], grid), power[row] - baseline[name], 0.0)
        for hours, moved_kw in zip(grid.hours, np.nan_to_num(moved), strict=True):
            live.advance_comfort(float(hours), float(moved_kw))


def _must_integrate(live: ResourceLive) -> bool:
    told = live.latest is not None and live.latest.energy_kwh is not None
    return isinstance(live.record.resource, ThermalLoad) and not told


def _moves(setpoint: SentSetpoint) -> bool:
    return setpoint.power_kw is not None and setpoint.outcome is not AckOutcome.REFUSED


def _under_order(orders: Sequence[SentSetpoint], grid: IntervalGrid) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """True where the order in force at the start of an interval is one that moves something, (T,)."""
    under = np.zeros(len(grid), dtype=np.bool_)
    for order in orders:  # in the order of sending: the newest word counts
        inside = np.array([order.valid_from <= start < order.valid_until for start in grid.starts])
        under[inside] = _moves(order)
    return under
