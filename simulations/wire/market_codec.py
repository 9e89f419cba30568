"""The device end of market and money, JSON by hand like ``simulations.wire.codec``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from simulations.wire.fields import Fields


@dataclass(frozen=True, slots=True)
class InvitedArea:
    """Zones of which at least so much is needed together, and at most so much is of use (None: no limit)."""

    area_id: str
    zone_ids: frozenset[str]
    at_least_kw: float
    at_most_kw: float | None


@dataclass(frozen=True, slots=True)
class InvitedInterval:
    """What is needed in one interval."""

    start: datetime
    end: datetime
    need_kw: float
    areas: tuple[InvitedArea, ...]


@dataclass(frozen=True, slots=True)
class ReceivedInvitation:
    """An event takes bids (``status`` open), or does no more (closed, cancelled)."""

    event_id: str
    status: str
    direction: str
    start: datetime
    end: datetime
    zone_ids: frozenset[str]
    intervals: tuple[InvitedInterval, ...]
    pricing: str
    floor_per_kwh: float
    cap_per_kwh: float
    tick_per_kwh: float
    quantum_kw: float
    bids_until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ReceivedAward:
    """What became of one offer."""

    zone_id: str
    start: datetime
    end: datetime
    offered_kw: float
    accepted_kw: float
    price_per_kwh: float
    payment_cny: Decimal
    reason: str
    reason_zh: str
    reason_en: str


@dataclass(frozen=True, slots=True)
class ReceivedAwards:
    """One part of the awards of an event; parts of one ``cleared_at`` belong together."""

    event_id: str
    cleared_at: datetime
    part: int
    parts: int
    awards: tuple[ReceivedAward, ...]


@dataclass(frozen=True, slots=True)
class ReceivedStatement:
    """A statement was issued, corrected or settled; money as it came, to the cent."""

    event_id: str
    version: int
    status: str
    payment_cny: Decimal
    capacity_cny: Decimal
    penalty_cny: Decimal
    net_cny: Decimal
    to_users_cny: Decimal
    kept_cny: Decimal
    sha256: str
    path: str
    corrects: int | None
    reason: str


MarketNews = ReceivedInvitation | ReceivedAwards | ReceivedStatement
"""What comes down about market and money."""


@dataclass(frozen=True, slots=True)
class IntervalOffer:
    """Power for one interval; ``steps``: (CNY/kWh, up to so many kW), rising; ``minimum_kw``: so much or nothing."""

    start: datetime
    steps: tuple[tuple[float, float], ...]
    minimum_kw: float = 0.0


def place(zone_id: str, offers: Sequence[IntervalOffer]) -> dict[str, Any]:
    """A bid in a zone as JSON fields, in the place of an earlier one."""
    return {"action": "place", "zone_id": zone_id, "offers": [_offer(offer) for offer in offers]}


def withdraw(zone_id: str) -> dict[str, Any]:
    """The withdrawal of a bid as JSON fields."""
    return {"action": "withdraw", "zone_id": zone_id}


def dispute(event_id: str, version: int, reason: str, resource_id: str | None = None) -> dict[str, Any]:
    """A dispute as JSON fields."""
    return {"event_id": event_id, "version": version, "resource_id": resource_id, "reason": reason}


def _offer(offer: IntervalOffer) -> dict[str, Any]:
    return {
        "start": offer.start.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "steps": [{"price_per_kwh": price, "up_to_kw": power_kw} for price, power_kw in offer.steps],
        "minimum_kw": offer.minimum_kw,
    }


# ---- down


def _invitation(fields: Fields) -> ReceivedInvitation:
    return ReceivedInvitation(
        event_id=fields.text("event_id"),
        status=fields.text("status"),
        direction=fields.text("direction"),
        start=fields.moment("start"),
        end=fields.moment("end"),
        zone_ids=frozenset(str(zone) for zone in fields.items("zone_ids")),
        intervals=tuple(_interval(each) for each in fields.inside("intervals")),
        pricing=fields.text("pricing"),
        floor_per_kwh=fields.number("floor_per_kwh"),
        cap_per_kwh=fields.number("cap_per_kwh"),
        tick_per_kwh=fields.number("tick_per_kwh"),
        quantum_kw=fields.number("quantum_kw"),
        bids_until=fields.moment("bids_until"),
        reason=fields.optional_text("reason") or "",
    )


def _interval(fields: Fields) -> InvitedInterval:
    areas = fields.inside("areas") if "areas" in fields.values else []
    return InvitedInterval(
        fields.moment("start"), fields.moment("end"), fields.number("need_kw"), tuple(_area(each) for each in areas)
    )


def _area(fields: Fields) -> InvitedArea:
    zones = frozenset(str(zone) for zone in fields.items("zone_ids"))
    limits = fields.number("at_least_kw"), fields.optional_number("at_most_kw")
    return InvitedArea(fields.text("area_id"), zones, *limits)


def _awards(fields: Fields) -> ReceivedAwards:
    part, parts = fields.whole("part"), fields.whole("parts")
    if not 1 <= part <= parts:
        raise fields.fault("part", part, f"must lie between 1 and parts, {parts}")
    rows = tuple(_award(each) for each in fields.inside("awards"))
    return ReceivedAwards(fields.text("event_id"), fields.moment("cleared_at"), part, parts, rows)


def _award(fields: Fields) -> ReceivedAward:
    return ReceivedAward(
        zone_id=fields.text("zone_id"),
        start=fields.moment("start"),
        end=fields.moment("end"),
        offered_kw=fields.number("offered_kw"),
        accepted_kw=fields.number("accepted_kw"),
        price_per_kwh=fields.number("price_per_kwh"),
        payment_cny=fields.money("payment_cny"),
        reason=fields.text("reason"),
        reason_zh=fields.text("reason_zh"),
        reason_en=fields.text("reason_en"),
    )


def _statement(fields: Fields) -> ReceivedStatement:
    totals = Fields("statements.totals", fields.values.get("totals"))
    return ReceivedStatement(
        event_id=fields.text("event_id"),
        version=fields.whole("version"),
        status=fields.text("status"),
        payment_cny=totals.money("payment_cny"),
        capacity_cny=totals.money("capacity_cny"),
        penalty_cny=totals.money("penalty_cny"),
        net_cny=totals.money("net_cny"),
        to_users_cny=totals.money("to_users_cny"),
        kept_cny=totals.money("kept_cny"),
        sha256=fields.text("sha256"),
        path=fields.text("path"),
        corrects=None if fields.values.get("corrects") is None else fields.whole("corrects"),
        reason=fields.optional_text("reason") or "",
    )


READERS: Mapping[str, Callable[[Fields], MarketNews]] = {
    "invitations": _invitation,
    "awards": _awards,
    "statements": _statement,
}
"""By the end of the topic."""
