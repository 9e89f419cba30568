"""Structure: what decides which equations there are, apart from the given numbers in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.charging import ChargingWriter, slots_for
from models.dispatch.reference.generation import GeneratorWriter, PvWriter
from models.dispatch.reference.given import Writer
from models.dispatch.reference.loads import CurtailableWriter, InterruptibleWriter
from models.dispatch.reference.shifting import ShiftableWriter
from models.dispatch.reference.storage import StorageWriter
from models.dispatch.reference.thermal import ThermalWriter
from models.resources import EvSession, ResourceKind

WRITERS: Mapping[ResourceKind, Writer] = {
    ResourceKind.STORAGE: StorageWriter(),
    ResourceKind.CURTAILABLE_LOAD: CurtailableWriter(),
    ResourceKind.INTERRUPTIBLE_LOAD: InterruptibleWriter(),
    ResourceKind.SHIFTABLE_LOAD: ShiftableWriter(),
    ResourceKind.THERMAL_LOAD: ThermalWriter(),
    ResourceKind.GENERATOR: GeneratorWriter(),
    ResourceKind.PV: PvWriter(),
}
"""Every kind but charging, whose writer depends on how many stays a charger has."""

EVENT_SLOTS = 4
"""Events come in fours of rows, the first four always there, so that an event seldom changes the structure."""

Shape = tuple[Any, ...]


@dataclass(frozen=True)
class Entry:
    """One resource of the structure: its rows (the stays, for a charger), who writes it, and what shapes it."""

    resource_id: str
    kind: ResourceKind
    rows: list[Any]
    writer: Writer
    shape: Shape

    @property
    def row(self) -> Any:
        """The first row: what all rows of a charger have in common."""
        return self.rows[0]


def rows_by_resource(problem: DispatchProblem) -> dict[str, tuple[ResourceKind, list[Any]]]:
    """Kind and rows of every resource; the stays of a charger in order of arrival."""
    found: dict[str, tuple[ResourceKind, list[Any]]] = {}
    for kind, table in problem.fleet.tables.items():
        for row in table.rows():
            found.setdefault(row.resource_id, (kind, []))[1].append(row)
    for kind, rows in found.values():
        if kind is ResourceKind.EV_SESSION:
            rows.sort(key=lambda row: (row.arrival, row.session_id))
    return found


def entry_of(resource_id: str, kind: ResourceKind, rows: list[Any], problem: DispatchProblem) -> Entry:
    """The entry of one resource."""
    writer: Writer
    if kind is ResourceKind.EV_SESSION:
        writer = ChargingWriter(slots_for(len(rows)), both_ways=any(row.is_v2g for row in rows))
    else:
        writer = WRITERS[kind]
    row = rows[0]
    shape = (resource_id, kind, row.zone_id, row.aggregator_id, *writer.shape(rows, problem))
    return Entry(resource_id, kind, rows, writer, shape)


def entries_of(problem: DispatchProblem) -> list[Entry]:
    """Every resource of the problem, in byte order of its id."""
    found = rows_by_resource(problem)
    return [entry_of(name, *found[name], problem) for name in problem.fleet.resource_ids]


def city_key(problem: DispatchProblem, entries: list[Entry]) -> Shape:
    """What shapes the city, chargers left out."""
    hours = tuple(round(float(span), 9) for span in problem.grid.hours)
    others = tuple(entry.shape for entry in entries if entry.kind is not ResourceKind.EV_SESSION)
    chargers = any(entry.kind is ResourceKind.EV_SESSION for entry in entries)
    penalties = tuple(problem.penalties.as_dict().values())
    return (
        hours,
        problem.zones,
        penalties,
        event_slots(problem),
        committed_aggregators(problem),
        problem.real_time is not None,
        chargers,
        others,
    )


def event_slots(problem: DispatchProblem) -> int:
    """Rooms for events, in fours."""
    return EVENT_SLOTS * max(1, -(-len(problem.events) // EVENT_SLOTS))


def committed_aggregators(problem: DispatchProblem) -> tuple[str, ...]:
    """All aggregators in order: any may commit itself, and then the rows are there already.

    Who has committed himself and has no resource (any more) is among them: his commitment is unmet, by name.
    """
    fleet = {what.aggregator_id for what in problem.attributes.values()}
    return tuple(sorted(fleet | {row.aggregator_id for row in problem.commitments}))


def covers(made: Entry, wanted: Entry) -> bool:
    """True if a charger compiled as ``made`` has room for the stays of ``wanted``."""
    if not isinstance(made.writer, ChargingWriter) or not isinstance(wanted.writer, ChargingWriter):
        return False
    if made.row.zone_id != wanted.row.zone_id or made.row.aggregator_id != wanted.row.aggregator_id:
        return False
    return made.writer.slots >= wanted.writer.slots and (made.writer.both_ways or not wanted.writer.both_ways)


def empty_charger(entry: Entry, problem: DispatchProblem) -> list[EvSession]:
    """A stay that was over before the horizon, for a charger of the structure at which nobody is expected."""
    over = {
        "arrival": problem.grid.start - (entry.row.departure - entry.row.arrival),
        "departure": problem.grid.start,
    }
    return [entry.row.model_copy(update=over)]
