"""Sizing: what an order becomes as an event, how much is wanted of it and how much can be held throughout."""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from models.errors import InputError, InputFault
from models.events import Direction, Event, EventOrder, NoticeType, ScopeKind
from models.notice import NoticeRules
from vpp.day_ahead import DayAheadStage, DayPlan
from vpp.event_book import EventBook


@dataclass(frozen=True, slots=True)
class EventRules:
    """How orders are sized and answered: ``target_fraction`` of the reference peak, margin under what is callable."""

    target_fraction: float
    reference_peak_kw: float | None
    callable_margin_fraction: float
    notice: NoticeRules
    rebound_window: timedelta = timedelta(hours=6)
    rebound_margin_fraction: float = 0.015

    def firm_kw(self, callable_kw: float) -> float:
        """What may be promised of what is callable."""
        return callable_kw * (1 - self.callable_margin_fraction)

    def rebound_cap_kw(self, peak_kw: float) -> float:
        """What the city may reach while loads come back: the day's undispatched peak, less a margin for its forecast.

        Without the margin the day's peak only moves into the hours after the event as soon as the forecast is high.
        """
        return peak_kw * (1 - self.rebound_margin_fraction)


@dataclass(frozen=True, slots=True)
class EventSizing:
    """An order as an event, the target share of the reference peak, and what can be held throughout, kW."""

    event: Event
    notice_type: NoticeType
    five_percent_kw: float
    callable_kw: float


class EventSizer:
    """Makes events of orders, measured against the day's peak and against what the day's plan can hold."""

    def __init__(self, day_ahead: DayAheadStage, book: EventBook, zone: ZoneInfo, rules: EventRules) -> None:
        self._day_ahead = day_ahead
        self._book = book
        self._zone = zone
        self._rules = rules
        self.callable_now: Callable[[Event, datetime], float] = lambda _event, _now: 0.0
        """What a direct call could count on, kW."""

    async def size(self, orders: Sequence[EventOrder], now: datetime) -> list[EventSizing]:
        """What orders of one market day could count on, together: they share the same resources.

        ``InputError`` for an order whose notice does not fit, of another day, or whose name is taken.
        """
        kinds = [
            self._rules.notice.checked(order.notice_type, order.start, order.end, now, index)
            for index, order in enumerate(orders)
        ]
        day = orders[0].start.astimezone(self._zone).date()
        if any(order.start.astimezone(self._zone).date() != day for order in orders):
            raise InputError([InputFault("event", "start", str(day), "all must lie on one market day")])
        if NoticeType.EMERGENCY in kinds:
            if len(orders) > 1:
                rule = "an emergency is declared by itself: nothing may keep it waiting"
                raise InputError(
                    [InputFault("event", "notice_type", "emergency", rule, kinds.index(NoticeType.EMERGENCY))]
                )
            return [self._size_now(orders[0], day, now)]
        plan = await self._day_ahead.make(day)
        peak_kw, five_percent_kw = self._reference(plan)
        wanted: list[Event] = []
        for order in orders:
            taken = {event.event_id for event in wanted}
            wanted.append(self._event(order, five_percent_kw, peak_kw, now, taken))
        standing = self._book.of_day(day, self._day_ahead.grid_of(day))
        callable_kw = await self._day_ahead.callable_kw(day, wanted, standing)
        return [
            EventSizing(event, kind, five_percent_kw, callable_kw[event.event_id])
            for event, kind in zip(wanted, kinds, strict=True)
        ]

    def _size_now(self, order: EventOrder, day: date, now: datetime) -> EventSizing:
        """An emergency from what devices say right now: there is no time for a plan, and perhaps no day plan."""
        known = self._day_ahead.days.get(day) if day in self._day_ahead.inputs else None
        peak_kw, five_percent_kw = self._reference(known) if known is not None else (None, None)
        if five_percent_kw is None and self._rules.reference_peak_kw is not None:
            five_percent_kw = self._rules.target_fraction * self._rules.reference_peak_kw
        event = self._event(order, five_percent_kw or 0.0, peak_kw, now, set())
        callable_kw = self.callable_now(event, now)
        if order.ordered_kw is None and five_percent_kw is None:
            event = event.model_copy(update={"target_kw": callable_kw})
        wanted_kw = callable_kw if five_percent_kw is None else five_percent_kw
        return EventSizing(event, NoticeType.EMERGENCY, wanted_kw, callable_kw)

    def _event(
        self, order: EventOrder, five_percent_kw: float, peak_kw: float | None, now: datetime, taken: set[str]
    ) -> Event:
        """The order as an event that asks for so much more that its margin is still there when it is promised."""
        event_id = order.event_id or self._new_id(order, taken)
        if self._is_taken(event_id, taken):
            raise InputError([InputFault("event", "event_id", event_id, "is already taken")])
        asked_kw = order.ordered_kw if order.ordered_kw is not None else five_percent_kw
        fill = order.direction is Direction.FILL
        margin = 1 - self._rules.callable_margin_fraction
        return Event(
            event_id=event_id,
            direction=order.direction,
            scope_kind=order.scope_kind,
            scope_id=order.scope_id,
            start=order.start,
            end=order.end,
            target_kw=asked_kw / margin,
            issued_at=now,
            rebound_cap_kw=None if fill or peak_kw is None else self._rules.rebound_cap_kw(peak_kw),
        )

    def _is_taken(self, event_id: str, taken: set[str]) -> bool:
        return event_id in taken or self._book.is_taken(event_id)

    def _new_id(self, order: EventOrder, taken: set[str]) -> str:
        """Day, time and scope, with a number where that is taken."""
        scope = order.scope_kind.value if order.scope_kind is ScopeKind.CITY else order.scope_id
        scope = re.sub(r"[^A-Za-z0-9._:-]", "-", scope)[:80]
        first = f"{order.start.astimezone(self._zone):%Y%m%d-%H%M}-{scope}"
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        return next(name for name in names if not self._is_taken(name, taken))

    def _reference(self, day: DayPlan) -> tuple[float, float]:
        """Undispatched forecast peak of the market day, and the target share of the reference peak, kW."""
        inputs = self._day_ahead.inputs_of(day.market_day)
        in_day = [start.astimezone(self._zone).date() == day.market_day for start in inputs.grid.starts]
        peak_kw = float(inputs.city.load_kw.sum(axis=0)[in_day].max())
        return peak_kw, self._rules.target_fraction * (self._rules.reference_peak_kw or peak_kw)
