"""Small markets: hourly intervals, whole kW, prices in CNY/kWh; amounts of bids are cumulative."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from models.clearing.market import AreaNeed, Bid, Market, MarketRule, Need, Offer, Step
from models.clearing.result import Award, Clearing

NOON = datetime(2025, 7, 16, 5, tzinfo=UTC)


def hour(k: int) -> datetime:
    return NOON + timedelta(hours=k)


def offer(steps: Sequence[tuple[float, float]], minimum_kw: float = 0.0, k: int = 0) -> Offer:
    """Steps as (price, up to kW)."""
    return Offer(
        start=hour(k),
        steps=tuple(Step(price_per_kwh=price, up_to_kw=end) for price, end in steps),
        minimum_kw=minimum_kw,
    )


def bid(name: str, *steps: tuple[float, float], zone: str = "Z", minimum_kw: float = 0.0, minute: int = 0) -> Bid:
    """A bid for the first hour, submitted so many minutes after the gate opened."""
    at = NOON - timedelta(hours=20) + timedelta(minutes=minute)
    return Bid(
        bid_id=name, aggregator_id=name, zone_id=zone, submitted_at=at, offers=(offer(steps, minimum_kw=minimum_kw),)
    )


def area(name: str, *zones: str, least: float = 0.0, most: float | None = None) -> AreaNeed:
    return AreaNeed(area_id=name, zone_ids=frozenset(zones), at_least_kw=least, at_most_kw=most)


def market(need_kw: float, bids: Sequence[Bid], *areas: AreaNeed, **rule: Any) -> Market:
    """One hour."""
    zones = {each.zone_id for each in bids}.union({"Z"}, *(each.zone_ids for each in areas))
    return Market(
        market_id="m",
        rule=MarketRule(**rule),
        zone_ids=frozenset(zones),
        needs=(Need(start=hour(0), end=hour(1), need_kw=need_kw, areas=areas),),
        bids=tuple(bids),
    )


def accepted(clearing: Clearing) -> dict[str, float]:
    return {award.bid_id: award.accepted_kw for award in clearing.awards}


def award(clearing: Clearing, name: str) -> Award:
    return next(each for each in clearing.awards if each.bid_id == name)


@st.composite
def offers(draw: st.DrawFn, /, k: int, *, minimums: bool) -> Offer:
    """Few prices and amounts, so that ties and exact fits come up often."""
    count = draw(st.integers(1, 3))
    prices = sorted(draw(st.lists(st.integers(0, 6), min_size=count, max_size=count)))
    lengths = draw(st.lists(st.integers(1, 8), min_size=count, max_size=count))
    ends = [sum(lengths[: n + 1]) for n in range(count)]
    minimum = draw(st.integers(0, ends[-1])) if minimums and draw(st.booleans()) else 0
    return offer([(price / 2, float(end)) for price, end in zip(prices, ends, strict=True)], float(minimum), k)


@st.composite
def markets(
    draw: st.DrawFn, /, *, minimums: bool = True, most_bids: int = 6, areas: bool = True, **rule: Any
) -> Market:
    """One or two hours, up to three zones, areas nested or apart."""
    hours = draw(st.integers(1, 2))
    places = draw(
        st.lists(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from("XYZ")), unique=True, min_size=0, max_size=most_bids
        )
    )
    bids = [
        Bid(
            bid_id=f"{name}-{zone}",
            aggregator_id=name,
            zone_id=zone,
            submitted_at=NOON - timedelta(minutes=draw(st.integers(100, 102))),
            offers=tuple(draw(offers(k, minimums=minimums)) for k in range(hours)),
        )
        for name, zone in places
    ]
    needs = [_need(draw, k, areas=areas) for k in range(hours)]
    return Market(
        market_id="m", rule=MarketRule(**rule), zone_ids=frozenset("XYZ"), needs=tuple(needs), bids=tuple(bids)
    )


def _need(draw: st.DrawFn, k: int, *, areas: bool) -> Need:
    found: list[AreaNeed] = []
    total = float(draw(st.integers(0, 40)))
    if areas and draw(st.booleans()):
        least = float(draw(st.integers(0, int(total))))
        most = draw(st.one_of(st.none(), st.integers(int(least), 40)))
        found.append(area("XY", "X", "Y", least=least, most=None if most is None else float(most)))
    if areas and draw(st.booleans()):
        cap = min([total, *(each.at_most_kw for each in found if each.at_most_kw is not None)])
        least = float(draw(st.integers(0, int(cap))))
        most = draw(st.one_of(st.none(), st.integers(int(least), 40)))
        found.append(area("X", "X", least=least, most=None if most is None else float(most)))
    return Need(start=hour(k), end=hour(k + 1), need_kw=total, areas=tuple(found))
