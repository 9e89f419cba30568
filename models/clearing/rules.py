"""What must be true of a market beyond its fields: every broken rule is named with bid or interval, field and value."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from models.clearing.market import AreaNeed, Bid, Market, MarketRule, Need, Offer, is_multiple
from models.errors import InputError, InputFault


def read_market(given: Mapping[str, Any]) -> Market:
    """A sound market from plain data; ``InputError`` with every fault otherwise."""
    try:
        market = Market.model_validate(given)
    except ValidationError as error:
        found = error.errors()
        causes = [each for each in found if not any(_holds(each["loc"], other["loc"]) for other in found)]
        raise InputError([_fault(given, each) for each in causes]) from error
    require_sound(market)
    return market


def require_sound(market: Market) -> None:
    """``InputError`` with every rule that the market breaks."""
    faults = [*_needs(market), *_bids(market)]
    if faults:
        raise InputError(faults)


def faults_of_bid(
    bid: Bid, rule: MarketRule, zone_ids: Collection[str], starts: Collection[datetime]
) -> list[InputFault]:
    """What is wrong with one bid for a market with these zones and interval starts."""
    return list(_bid(bid, rule, zone_ids, starts))


# ---- needs


def _needs(market: Market) -> Iterator[InputFault]:
    for before, after in itertools.pairwise(market.needs):
        if after.start < before.end:
            yield InputFault(_place(after), "start", after.start.isoformat(), "must not be before the last one's end")
    for need in market.needs:
        names = Counter(area.area_id for area in need.areas)
        for name in sorted(name for name, count in names.items() if count > 1):
            yield InputFault(_place(need), "areas", name, "must name every area once")
        for area in need.areas:
            for zone in sorted(area.zone_ids - market.zone_ids):
                yield InputFault(_place(need), f"areas.{area.area_id}.zone_ids", zone, "must be a zone of the market")
        tangled = [
            InputFault(_place(need), f"areas.{a.area_id}.zone_ids", b.area_id, "must be nested in the other or apart")
            for a, b in itertools.combinations(need.areas, 2)
            if a.zone_ids & b.zone_ids and not (a.zone_ids < b.zone_ids or b.zone_ids < a.zone_ids)
        ]
        yield from tangled
        if not tangled:
            yield from _sums(need)


def _sums(need: Need) -> Iterator[InputFault]:
    """What areas need must fit into what holds them: ``at_least_kw`` of the inner into that of the outer's most."""
    asked: dict[str, float] = {}
    for area in sorted(need.areas, key=lambda area: len(area.zone_ids)):
        inner = sum(asked[other.area_id] for other in _directly_inside(area.zone_ids, need.areas))
        asked[area.area_id] = max(area.at_least_kw, inner)
        if area.at_most_kw is not None and inner > area.at_most_kw:
            rule = f"must not be less than the {inner:g} kW that areas inside it need"
            yield InputFault(_place(need), f"areas.{area.area_id}.at_most_kw", area.at_most_kw, rule)
    everywhere = frozenset().union(*(area.zone_ids for area in need.areas)) if need.areas else frozenset()
    total = sum(asked[area.area_id] for area in _outermost(everywhere, need.areas))
    if total > need.need_kw:
        yield InputFault(_place(need), "need_kw", need.need_kw, f"must not be less than the {total:g} kW of its areas")


def _outermost(zone_ids: frozenset[str], areas: Collection[AreaNeed]) -> list[AreaNeed]:
    """The areas within some zones that lie in no other of them."""
    inside = [area for area in areas if area.zone_ids <= zone_ids]
    return [area for area in inside if not any(area.zone_ids < other.zone_ids for other in inside)]


def _directly_inside(zone_ids: frozenset[str], areas: Collection[AreaNeed]) -> list[AreaNeed]:
    return _outermost(zone_ids, [area for area in areas if area.zone_ids < zone_ids])


# ---- bids


def _bids(market: Market) -> Iterator[InputFault]:
    starts = {need.start for need in market.needs}
    ids: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    for bid in market.bids:
        place = f"bid {bid.bid_id}"
        if bid.bid_id in ids:
            yield InputFault(place, "bid_id", bid.bid_id, "must be unique")
        if (bid.aggregator_id, bid.zone_id) in pairs:
            rule = f"must be one bid for each zone: {bid.zone_id} has one of this aggregator already"
            yield InputFault(place, "aggregator_id", bid.aggregator_id, rule)
        ids.add(bid.bid_id)
        pairs.add((bid.aggregator_id, bid.zone_id))
        yield from _bid(bid, market.rule, market.zone_ids, starts)


def _bid(bid: Bid, rule: MarketRule, zone_ids: Collection[str], starts: Collection[datetime]) -> Iterator[InputFault]:
    place = f"bid {bid.bid_id}"
    if bid.zone_id not in zone_ids:
        yield InputFault(place, "zone_id", bid.zone_id, "must be a zone of the market")
    seen: set[datetime] = set()
    for k, offer in enumerate(bid.offers):
        if offer.start not in starts:
            yield InputFault(place, f"offers.{k}.start", offer.start.isoformat(), "must be the start of an interval")
        if offer.start in seen:
            yield InputFault(place, f"offers.{k}.start", offer.start.isoformat(), "must be there once")
        seen.add(offer.start)
        yield from _offer(place, f"offers.{k}", offer, rule)


def _offer(place: str, field: str, offer: Offer, rule: MarketRule) -> Iterator[InputFault]:
    whole = f"must be a multiple of {rule.quantum_kw:g} kW"
    if not is_multiple(offer.minimum_kw, rule.quantum_kw):
        yield InputFault(place, f"{field}.minimum_kw", offer.minimum_kw, whole)
    for k, step in enumerate(offer.steps):
        price, at = step.price_per_kwh, f"{field}.steps.{k}"
        if not rule.floor_per_kwh <= price <= rule.cap_per_kwh:
            between = f"must lie between floor {rule.floor_per_kwh:g} and cap {rule.cap_per_kwh:g} CNY/kWh"
            yield InputFault(place, f"{at}.price_per_kwh", price, between)
        elif not is_multiple(price, rule.tick_per_kwh):
            tick = f"must be a multiple of {rule.tick_per_kwh:g} CNY/kWh"
            yield InputFault(place, f"{at}.price_per_kwh", price, tick)
        if not is_multiple(step.up_to_kw, rule.quantum_kw):
            yield InputFault(place, f"{at}.up_to_kw", step.up_to_kw, whole)


# ---- places


def _place(need: Need) -> str:
    return f"interval {need.start.isoformat()}"


def _holds(outer: tuple[int | str, ...], inner: tuple[int | str, ...]) -> bool:
    """True if the one place lies in the other: a list that lost its only broken member is then short as well."""
    return len(outer) < len(inner) and inner[: len(outer)] == outer


def _fault(given: Mapping[str, Any], error: Any) -> InputFault:
    """A fault of a field, with the bid it is in: pydantic knows only its index."""
    where, place = list(error["loc"]), "market"
    if len(where) > 1 and where[0] == "bids" and isinstance(where[1], int):
        bid = given["bids"][where[1]]
        name = bid.get("bid_id") if isinstance(bid, Mapping) else getattr(bid, "bid_id", None)
        place = f"bid {name or where[1]}"
        where = where[2:]
    rule = str(error["msg"]).removeprefix("Value error, ")
    return InputFault(place, ".".join(str(part) for part in where), error.get("input"), rule)
