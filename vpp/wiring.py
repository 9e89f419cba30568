"""Wiring: the only file that names concrete adapters and puts the service together.

``open_service`` gives a running service; ``vpp serve``, ``vpp demo`` and ``vpp replay`` all use it, with
another clock and another feed of the city, and nothing else different.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import holidays
import structlog

from adapters.mqtt.broker import BrokerSettings, BrokerTls, RunningBroker, open_broker
from adapters.mqtt.link import AnsweringLink
from adapters.mqtt.order_link import MqttLink
from adapters.mqtt.settings import ClientTls
from adapters.store import AggregatorCredentials, Store
from models.dispatch.problem import Penalties
from models.errors import BrokerError, SolverError
from models.events import EventNotice, NoticeType
from models.intervals import FloatArray, IntervalGrid
from models.notice import NoticeRule, NoticeRules, usual_rules
from models.plan import DispatchPlan, SetpointBatch
from models.ports import Clock, DeviceLink, Solver
from models.resources import EvCharger
from models.telemetry import Reading
from vpp.closing.door import MarketDoor
from vpp.closing.telling import StatementTeller
from vpp.day_ahead import DayAheadStage
from vpp.delivery import DeliveryStage
from vpp.event_sizing import EventRules
from vpp.events import EventDesk
from vpp.forecasting import CityFeed
from vpp.history import DAYS_BACK, History
from vpp.ladder import STEPS
from vpp.levels import DayLevels
from vpp.metrics import Metrics
from vpp.outgoing import RetryRules
from vpp.problem_builder import ProblemBuilder
from vpp.real_time import RealTimeStage
from vpp.registration import Registrar
from vpp.restart import take_up
from vpp.rhythm import Rhythm
from vpp.runtime import Runtime
from vpp.service import Service
from vpp.session_baseline import SessionBaselines
from vpp.settings import Settings
from vpp.solver_pool import GRACE_S, SolverPool, fast_solver, reference_solver
from vpp.state import LiveState
from vpp.uplink import Uplink

log = structlog.get_logger(__name__)

Solvers = tuple[Solver, Solver]
"""Of the day ahead, and of real time."""


class _LateLink:
    """The link is made after the stages that send through it: they hold this, and it is filled in.

    In read-only mode there is none of these, and the link itself (``AnsweringLink``) can publish no order either.
    """

    def __init__(self) -> None:
        self.link: DeviceLink | None = None

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        """See ``DeviceLink``."""
        await self._made().send_setpoints(batch, made_at)

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        """See ``DeviceLink``."""
        await self._made().send_event(aggregator_id, notice)

    def _made(self) -> DeviceLink:
        if self.link is None:
            raise BrokerError("the link is not made yet")
        return self.link


@asynccontextmanager
async def open_service(
    settings: Settings,
    clock: Clock,
    feed: CityFeed,
    *,
    baseline_method: str = "ten_of_ten",
    solver: Solver | None = None,
    solvers: Solvers | None = None,
) -> AsyncIterator[Service]:
    """Open database, solver and broker, build the stages, take up what was going on, and give the service: not yet
    running.  ``solver`` stands in for the worker processes; ``solvers`` are the caller's own, for the day ahead and for
    real time.
    """
    metrics = Metrics()
    settings.service.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.store_url, observe=metrics.observe_store)
    given = solvers if solver is None else (solver, solver)
    pools: tuple[SolverPool, ...] = solver_pools(settings) if given is None else ()
    warming = asyncio.create_task(_warm(pools), name="solvers get ready")
    try:
        await asyncio.to_thread(store.migrate)
        credentials = AggregatorCredentials(store, clock.now)
        async with open_broker(_broker_settings(settings), credentials) as broker:
            used = given or (pools[0], pools[1])
            yield await _assemble(settings, clock, feed, metrics, store, used, broker, baseline_method)
    finally:
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        for pool in pools:
            await pool.close()
        store.close()


def solver_pools(settings: Settings) -> tuple[SolverPool, SolverPool]:
    """Two workers: the day ahead does not keep a cycle waiting, and each gets ready beside the other."""
    make = fast_solver if settings.solver.method == "fast" else reference_solver
    return SolverPool(make), SolverPool(make, grace_s=_real_time_grace_s(settings))


def _real_time_grace_s(settings: Settings) -> float:
    """How late a cycle's plan may be: the fast solver looks at the clock between its rounds only, and a plan that is
    seconds late in a cycle of minutes is worth more than the last one.
    """
    solver = settings.solver
    late = min(solver.real_time_deadline_s, settings.real_time.cycle_s / 10)
    return max(GRACE_S, late) if solver.method == "fast" else GRACE_S


async def _warm(pools: Sequence[SolverPool]) -> None:
    """Start the workers one after the other: what the first compiles the second finds; the first solve tries again."""
    for pool in pools:
        try:
            await pool.warm()
        except SolverError as error:
            log.warning("a solver is not ready yet", error=str(error))


async def _assemble(
    settings: Settings,
    clock: Clock,
    feed: CityFeed,
    metrics: Metrics,
    store: Store,
    solvers: tuple[Solver, Solver],
    broker: RunningBroker,
    baseline_method: str,
) -> Service:
    zone = settings.service.zone
    state = LiveState(store.resources())
    levels = DayLevels(store=store, state=state, feed=feed, zone=zone)
    history = History(
        store,
        state,
        zone,
        feed,
        method_id=baseline_method,
        holidays=holidays.country_holidays("CN") if settings.service.time_zone == "Asia/Shanghai" else (),
        on_line=levels.note,
    )

    def load_profiles(now: datetime, grid: IntervalGrid) -> Mapping[str, FloatArray]:
        history.event_days = {
            record.event.start.astimezone(zone).date()
            for record in store.events(since=now - timedelta(days=DAYS_BACK))
            if record.status.has_begun
        }
        return history.load_profiles(now, grid)

    builder = ProblemBuilder(state, zone, _penalties(settings), history.run_profile)
    cycle = timedelta(seconds=settings.real_time.cycle_s)
    late = None if settings.service.read_only else _LateLink()

    def on_plan(kind: str) -> object:
        def note(plan: DispatchPlan, violations: int) -> None:
            metrics.plans_made.labels(kind=kind, source=plan.source.value).inc()
            metrics.plan_violations.labels(kind=kind).inc(violations)
            if violations:
                return  # it is not put in force
            metrics.ladder_steps.labels(kind=kind, step=plan.step.value).inc()
            metrics.ladder_step.labels(kind=kind).set(STEPS.index(plan.step))
            metrics.plan_gap.labels(kind=kind).set(plan.gap)
            metrics.plan_wall_s.labels(kind=kind).set(plan.wall_s)
            metrics.plan_made_at.labels(kind=kind).set(clock.now().timestamp())

        return note

    day_ahead = DayAheadStage(
        clock=clock,
        store=store,
        feed=feed,
        builder=builder,
        solver=solvers[0],
        load_profiles=load_profiles,
        expected_sessions=history.expected_sessions,
        zone=zone,
        interval=timedelta(minutes=settings.day_ahead.interval_minutes),
        deadline_s=settings.solver.deadline_s,
        gap=settings.solver.gap,
        quote_gap=settings.solver.quote_gap,
        on_plan=on_plan("day_ahead"),  # type: ignore[arg-type]
        levels=levels,
    )
    events = EventDesk(
        clock=clock,
        store=store,
        state=state,
        link=late,
        day_ahead=day_ahead,
        zone=zone,
        rules=EventRules(
            target_fraction=settings.service.target_fraction,
            reference_peak_kw=settings.service.reference_peak_kw,
            callable_margin_fraction=settings.events.callable_margin_fraction,
            notice=NoticeRules(zone, _notice_rules(settings)),
        ),
        cycle=cycle,
        metrics=metrics,
    )
    sessions = SessionBaselines(feed.prices)
    runtime = Runtime(
        clock=clock,
        store=store,
        state=state,
        feed=feed,
        zone=zone,
        rhythm=Rhythm(
            day_ahead_at=settings.day_ahead.at,
            cycle=cycle,
            quiet_cycle=timedelta(seconds=settings.real_time.quiet_cycle_s),
        ),
        day_ahead=day_ahead,
        real_time=RealTimeStage(
            clock=clock,
            state=state,
            feed=feed,
            builder=builder,
            solver=solvers[1],
            cycle=cycle,
            zone=zone,
            deadline_s=settings.solver.real_time_deadline_s,
            gap=settings.solver.real_time_gap,
            on_plan=on_plan("real_time"),  # type: ignore[arg-type]
            reserve_fraction=settings.events.callable_margin_fraction,
        ),
        events=events,
        delivery=DeliveryStage(
            clock=clock,
            store=store,
            state=state,
            link=late,
            metrics=metrics,
            retries=RetryRules(timedelta(seconds=settings.delivery.answer_within_s), settings.delivery.most_tries),
        ),
        sessions=sessions,
        metrics=metrics,
        expected_sessions=history.expected_sessions,
        busiest_day=history.busiest_day,
    )
    runtime.closing.terms = settings.settlement
    runtime.shows_shapes = settings.solver.method == "reference"

    def on_session(reading: Reading, *, is_news: bool = True) -> None:
        live = state.get(reading.resource_id)
        if live is None or not isinstance(live.record.resource, EvCharger):
            return
        if reading.session is None:
            sessions.unplugged(reading.resource_id, reading.measured_at)
        elif sessions.plugged_in(live.record.resource, reading.session) and is_news:
            runtime.another_car(reading.resource_id)

    def is_member(aggregator_id: str) -> bool:
        return store.aggregator(aggregator_id) is not None

    uplink = Uplink(
        clock=clock,
        store=store,
        state=state,
        registrar=Registrar(store, state, feed),
        metrics=metrics,
        respond=runtime.respond,
        on_session=on_session,
        on_refused=runtime.refused,
        is_member=is_member,
    )
    link: AnsweringLink
    if late is None:
        link = AnsweringLink(broker.platform, uplink, clock)
    else:
        made = MqttLink(broker.platform, uplink, clock, MarketDoor(clock, store, runtime.closing))
        link = late.link = made
        runtime.closing.teller = StatementTeller(store, made)
    await take_up(runtime, cycle, partial(on_session, is_news=False))
    return Service(settings, clock, store, state, metrics, broker, link, uplink, runtime)


def _broker_settings(settings: Settings) -> BrokerSettings:
    mqtt = settings.mqtt
    own_tls = (
        BrokerTls(certificate_file=mqtt.tls_certificate_file, key_file=mqtt.tls_key_file, ca_file=mqtt.tls_ca_file)
        if mqtt.tls_certificate_file is not None and mqtt.tls_key_file is not None and "://" not in mqtt.broker
        else None
    )
    client_tls = (
        ClientTls(
            ca_file=mqtt.tls_ca_file,
            certificate_file=mqtt.tls_certificate_file,
            key_file=mqtt.tls_key_file,
        )
        if mqtt.broker.startswith("mqtts://")
        else None
    )
    return BrokerSettings(
        broker=mqtt.broker,
        host=mqtt.host,
        port=mqtt.port,
        folder=settings.service.data_dir / "broker",
        prefix=mqtt.prefix,
        tls=own_tls,
        client_tls=client_tls,
        username=mqtt.username,
        password=mqtt.password,
    )


def _notice_rules(settings: Settings) -> dict[NoticeType, NoticeRule]:
    events, rules = settings.events, usual_rules()
    day_ahead, intraday, emergency = rules.values()
    return {
        NoticeType.DAY_AHEAD: replace(day_ahead, respond_within=timedelta(seconds=events.respond_within_s)),
        NoticeType.INTRADAY: replace(
            intraday,
            least=timedelta(seconds=events.intraday_least_notice_s),
            respond_within=timedelta(seconds=events.intraday_respond_within_s),
        ),
        NoticeType.EMERGENCY: replace(emergency, most=timedelta(seconds=events.emergency_most_notice_s)),
    }


def _penalties(settings: Settings) -> Penalties:
    penalties = settings.penalties
    return Penalties(
        overload_per_kwh=penalties.overload,
        shortfall_per_kwh=penalties.shortfall,
        commitment_per_kwh=penalties.commitment,
        excess_per_kwh=penalties.excess,
        switch_cost_per_kw=settings.real_time.switch_cost_per_kw,
        stray_cost_per_kwh=settings.real_time.stray_cost_per_kwh,
    )
