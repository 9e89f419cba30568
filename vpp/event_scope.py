"""The scope of an event: which resources count for it."""

from collections.abc import Collection, Mapping

from models.events import Event, ScopeKind
from models.resources import ResourceBase


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
