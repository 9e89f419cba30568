r"""Do the offers cover the need with its margin: from offers alone, before anything is cleared.

    (G1)  O_a = min(U_a, Σ_{z in a, in no inner area} o_z + Σ_{a' in a} O_a')      usable offers      [kW]
    (G2)  S_a = max(0, f L_a - O_a)                                                 missing            [kW]
    (G3)  the emergency stage opens where S_a > 0

======  ============  ====  =====================================================================
symbol  name here     unit  meaning
======  ============  ====  =====================================================================
o       offered_kw    kW    all offers of a zone, minimum quantities looked at as if divisible
O       usable_kw     kW    what of them the limits of areas leave
L, U    at_least, ..  kW    of an area; the city has its need and no U of its own here
f       cover_factor  -     1.1 in Sichuan
======  ============  ====  =====================================================================

Source: Sichuan opens the emergency stage (应急) when day-ahead clearing comes to less than 1.1 x the need; domain notes
2.3 and 2.4, second hand, so the factor is data.
"""

from pydantic import BaseModel, ConfigDict

from models.clearing.market import CITY, AreaNeed, Market, Need
from models.units import NonNegativeKw, UtcTime

_LEAST_KW = 1e-6


class Cover(BaseModel):
    """Of one interval and area (the city is ``""``): what the rule asks for, what is offered, what is missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: UtcTime
    area_id: str
    asked_kw: NonNegativeKw
    usable_kw: NonNegativeKw
    missing_kw: NonNegativeKw

    @property
    def opens_emergency(self) -> bool:
        """(G3)"""
        return self.missing_kw > 0


def cover(market: Market) -> tuple[Cover, ...]:
    """(G1) to (G3) for every interval: the city, and each area that needs something."""
    offers: dict[tuple[str, object], float] = {}
    for bid in market.bids:
        for offer in bid.offers:
            key = (bid.zone_id, offer.start)
            offers[key] = offers.get(key, 0.0) + offer.offered_kw
    return tuple(row for need in market.needs for row in _of_interval(market, need, offers))


def _of_interval(market: Market, need: Need, offers: dict[tuple[str, object], float]) -> list[Cover]:
    offered = {zone: offers.get((zone, need.start), 0.0) for zone in market.zone_ids}
    inside_out = sorted(need.areas, key=lambda area: (len(area.zone_ids), area.area_id))
    usable: dict[str, float] = {}
    outermost: dict[str, AreaNeed] = {}
    for area in inside_out:
        inner = [name for name, other in outermost.items() if other.zone_ids < area.zone_ids]
        loose = area.zone_ids.difference(*(outermost[name].zone_ids for name in inner))
        total = sum(offered[zone] for zone in sorted(loose)) + sum(usable[name] for name in inner)
        usable[area.area_id] = total if area.at_most_kw is None else min(area.at_most_kw, total)
        outermost = {name: other for name, other in outermost.items() if name not in inner} | {area.area_id: area}
    loose = market.zone_ids.difference(*(area.zone_ids for area in outermost.values()))
    city = sum(offered[zone] for zone in sorted(loose)) + sum(usable[name] for name in outermost)
    factor = market.rule.cover_factor
    rows = [_row(need, CITY, factor * need.need_kw, city)]
    asking = sorted((area for area in need.areas if area.at_least_kw), key=lambda area: area.area_id)
    return rows + [_row(need, area.area_id, factor * area.at_least_kw, usable[area.area_id]) for area in asking]


def _row(need: Need, area_id: str, asked_kw: float, usable_kw: float) -> Cover:
    missing = asked_kw - usable_kw
    return Cover(
        start=need.start,
        area_id=area_id,
        asked_kw=asked_kw,
        usable_kw=usable_kw,
        missing_kw=missing if missing > _LEAST_KW else 0.0,
    )
