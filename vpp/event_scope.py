"""The scope of an event: which resources count for it."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from models.events import Event, ScopeKind
from models.intervals import IntervalGrid
from models.ports import Clock
from models.resources import ResourceBase
from vpp.forecasting import CityFeed

_PRESENT = timedelta(minutes=5)


def is_in_scope(resource: ResourceBase, event: Event, areas: Mapping[str, Collection[str]]) -> bool:
    """True if the resource counts for the event; ``areas``: the zones of every area, by its id."""
    match event.scope_kind:  # asked of every resource in every cycle
        case ScopeKind.CITY:
            return True
        case ScopeKind.AREA:
            return resource.zone_id in areas.get(event.scope_id, frozenset())
        case ScopeKind.ZONE:
            return resource.zone_id == event.scope_id
        case ScopeKind.AGGREGATOR:
            return resource.aggregator_id == event.scope_id
        case ScopeKind.PILLAR:
            return resource.pillar.value == event.scope_id


def area_zones(feed: CityFeed, clock: Clock, area: str) -> frozenset[str]:
    """The zones of an area of the city as it is now, none if there is no such area."""
    now = clock.now()
    return feed.forecast(now, IntervalGrid((now, now + _PRESENT))).areas.get(area, frozenset()) if area else frozenset()
