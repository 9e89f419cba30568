"""Demand-response events: what an operator orders, its scope, and what is kept of the life it goes through."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.life_cycle import EventStatus, step
from models.resources import Pillar
from models.units import AggregatorId, Identifier, Kw, NonNegativeKw, UtcTime


class Direction(StrEnum):
    """Which way the load shall move."""

    SHAVE = "shave"
    FILL = "fill"


class ScopeKind(StrEnum):
    """What an event or a requirement is about."""

    CITY = "city"
    AREA = "area"
    ZONE = "zone"
    AGGREGATOR = "aggregator"
    PILLAR = "pillar"


class NoticeType(StrEnum):
    """How long before its window an event is ordered, and what follows from it (``models.notice``)."""

    DAY_AHEAD = "day_ahead"
    INTRADAY = "intraday"
    EMERGENCY = "emergency"


def _check_window(start: datetime, end: datetime) -> None:
    if end <= start:
        raise ValueError(f"end: must be later than start (got {end.isoformat()!r})")


def _check_scope(kind: ScopeKind, name: str) -> None:
    if kind is not ScopeKind.CITY and not name:
        raise ValueError(f"scope_id: must name the {kind.value} (got '')")
    if kind is ScopeKind.PILLAR and name not in set(Pillar):
        raise ValueError(f"scope_id: must be {' or '.join(Pillar)} (got {name!r})")


class Event(BaseModel):
    """A row of the ``events`` table: so many kW less (shave) or more (fill) than the baseline, in a scope, for a time.

    ``scope_id`` names the area, zone, aggregator or pillar; for the city it is empty or any name.
    ``rebound_cap_kw``: (M4) holds for six hours after the end where it is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Identifier
    direction: Direction = Direction.SHAVE
    scope_kind: ScopeKind = ScopeKind.CITY
    scope_id: str = ""
    start: UtcTime
    end: UtcTime
    target_kw: NonNegativeKw
    issued_at: UtcTime | None = None
    rebound_cap_kw: NonNegativeKw | None = None

    @model_validator(mode="after")
    def _window(self) -> Self:
        _check_window(self.start, self.end)
        _check_scope(self.scope_kind, self.scope_id)
        return self


def _storable(text: str) -> str:
    """Text that every database and every log can hold."""
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("must not hold NUL or half characters")
    return text


Remark = Annotated[str, Field(max_length=500), AfterValidator(_storable)]
"""A few words of a person, for the record."""


class EventOrder(BaseModel):
    """What an operator asks for; ``ordered_kw`` None: the smaller of target share and what is callable.

    ``notice_type`` None: it follows from how far ahead the start lies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Identifier | None = None
    direction: Direction = Direction.SHAVE
    scope_kind: ScopeKind = ScopeKind.CITY
    scope_id: Annotated[str, Field(max_length=128), AfterValidator(_storable)] = ""
    start: UtcTime
    end: UtcTime
    ordered_kw: NonNegativeKw | None = None
    notice_type: NoticeType | None = None
    reason: Remark = ""

    @model_validator(mode="after")
    def _window(self) -> Self:
        _check_window(self.start, self.end)
        _check_scope(self.scope_kind, self.scope_id)
        return self


class Commitment(BaseModel):
    """A row of the ``commitments`` table: what an aggregator has accepted of an event in one interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Identifier
    aggregator_id: AggregatorId
    interval_start: UtcTime
    accepted_kw: NonNegativeKw


NOTICE_ZH: dict[str, str] = {"day_ahead": "日前", "intraday": "日内", "emergency": "应急"}
"""What operators call the types of notice in Chinese."""


class EventResponse(BaseModel):
    """An aggregator's answer to the notice of an event: all, part or none of its share, and who stays out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Identifier
    answer: Literal["accept", "accept_part", "decline"]
    accepted_kw: NonNegativeKw | None = None
    opted_out_resource_ids: tuple[Identifier, ...] = ()

    @model_validator(mode="after")
    def _amount(self) -> Self:
        if self.answer == "accept_part" and self.accepted_kw is None:
            raise ValueError("accepted_kw: is required when only a part is accepted (got None)")
        return self


class EventStep(BaseModel):
    """One step in the life of an event: who did what, when, and why; ``before``: where it stood, None at the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: EventStatus | None = None
    status: EventStatus
    at: UtcTime
    by: str
    reason: str = ""


class TargetChange(BaseModel):
    """One change of an event's target: who asked for it, when and why, and from when on it holds.

    ``effective_from`` None: it waits for a second person (``approved_by``), as every increase does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: UtcTime
    by: str
    reason: str
    before_kw: NonNegativeKw
    after_kw: NonNegativeKw
    approved_by: str | None = None
    effective_from: UtcTime | None = None


class EventRecord(BaseModel):
    """An event with its life so far: what the store keeps and the API shows.

    ``five_percent_kw``: the target share of the reference peak.  ``callable_kw``: firm with margin, when declared.
    ``event.target_kw`` is ``ordered_kw``, after the last of ``changes`` that holds.  ``share_kw``, ``accepted_kw``: per
    aggregator, None = no answer yet.  ``baseline_hash`` is pinned at approval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Event
    status: EventStatus
    steps: tuple[EventStep, ...]
    notice_type: NoticeType = NoticeType.DAY_AHEAD
    changes: tuple[TargetChange, ...] = ()
    five_percent_kw: Kw | None = None
    callable_kw: Kw | None = None
    baseline_hash: str | None = None
    share_kw: dict[str, Kw] = {}
    accepted_kw: dict[str, Kw | None] = {}
    opted_out_resource_ids: tuple[str, ...] = ()
    evaluation: dict[str, object] | None = None

    @property
    def waiting_change(self) -> TargetChange | None:
        """The change of target that waits for a second person."""
        return next((each for each in self.changes if each.effective_from is None), None)

    @property
    def first_target_kw(self) -> float:
        """The order before all changes."""
        made = [each for each in self.changes if each.effective_from is not None]
        return made[0].before_kw if made else self.event.target_kw

    def stepped(self, wanted: EventStatus, at: datetime, by: str, reason: str = "") -> "EventRecord":
        """The record after one allowed step; ``EventStateError`` otherwise."""
        status = step(self.event.event_id, self.status, wanted)
        entry = EventStep(before=self.status, status=status, at=at, by=by, reason=reason)
        return self.model_copy(update={"status": status, "steps": (*self.steps, entry)})


class EventNotice(BaseModel):
    """What an aggregator is told about an event: its share of the target and until when it must answer.

    An emergency is a direct call: there is nothing to answer, its setpoints are on the way; single resources may opt
    out while it runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Identifier
    status: Literal["notified", "changed", "cancelled", "terminated", "ended"]
    direction: Direction
    start: UtcTime
    end: UtcTime
    share_kw: NonNegativeKw
    notice_type: NoticeType = NoticeType.DAY_AHEAD
    respond_by: UtcTime | None = None
    reason: str = ""
