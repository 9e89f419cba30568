"""A block of consecutive resources as one batch per kind, and the devices of those that need a closer look."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.dispatch.check.devices import Device, devices_in
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.roster import Roster
from models.dispatch.check.screens.charging import Stays, admit_stays, screen_chargers
from models.dispatch.check.screens.common import Batch, IndexArray, Screened
from models.dispatch.check.screens.generation import as_asked, screen_generators, screen_pv
from models.dispatch.check.screens.loads import admit_interruptibles, screen_curtailables, screen_interruptibles
from models.dispatch.check.screens.shifting import admit_shiftables, screen_shiftables
from models.dispatch.check.screens.storage import admit_storages, screen_storages
from models.dispatch.check.screens.thermal import admit_thermals, screen_thermals
from models.dispatch.states import StateColumns
from models.fleet import ResourceTable
from models.intervals import FloatArray
from models.plan import Admission
from models.resources import ResourceKind

_ADMITS: dict[ResourceKind, Callable[[dict[str, Any], StateColumns, Horizon], Batch]] = {
    ResourceKind.STORAGE: admit_storages,
    ResourceKind.CURTAILABLE_LOAD: as_asked,
    ResourceKind.INTERRUPTIBLE_LOAD: admit_interruptibles,
    ResourceKind.SHIFTABLE_LOAD: admit_shiftables,
    ResourceKind.THERMAL_LOAD: admit_thermals,
    ResourceKind.GENERATOR: as_asked,
    ResourceKind.PV: as_asked,
}

_SCREENS: dict[ResourceKind, Callable[[Batch, FloatArray], Screened]] = {
    ResourceKind.STORAGE: screen_storages,
    ResourceKind.EV_SESSION: screen_chargers,
    ResourceKind.CURTAILABLE_LOAD: screen_curtailables,
    ResourceKind.INTERRUPTIBLE_LOAD: screen_interruptibles,
    ResourceKind.SHIFTABLE_LOAD: screen_shiftables,
    ResourceKind.THERMAL_LOAD: screen_thermals,
    ResourceKind.GENERATOR: screen_generators,
    ResourceKind.PV: screen_pv,
}


@dataclass(frozen=True)
class Group:
    """The resources of one kind in a block: n of them, at ``places`` (n,) from the block's first on."""

    kind: ResourceKind
    batch: Batch
    places: IndexArray

    def screen(self, power_kw: FloatArray) -> Screened:
        """Screen a table (block, T)."""
        return _SCREENS[self.kind](self.batch, power_kw[self.places])


@dataclass
class Block:
    """The resources from place ``first`` to before ``last``: a group per kind, devices made where they are needed."""

    roster: Roster
    horizon: Horizon
    first: int
    last: int
    groups: list[Group]
    _devices: dict[int, Device] = field(default_factory=dict)

    @classmethod
    def of(cls, roster: Roster, horizon: Horizon, first: int, last: int) -> "Block":
        """The block of some consecutive resources."""
        groups = []
        for kind in roster.tables:
            table, places = roster.part(kind, first, last)
            if len(places):
                groups.append(_group(table, places, horizon))
        return cls(roster, horizon, first, last, groups)

    def __len__(self) -> int:
        return self.last - self.first

    def devices(self, kind: ResourceKind, places: IndexArray) -> list[Device]:
        """The devices of one kind at some places, one object each."""
        missing = np.array([place for place in places.tolist() if place not in self._devices], dtype=np.intp)
        if missing.size:
            made = devices_in(self.roster.table_at(kind, missing + self.first), self.horizon)
            self._devices |= dict(zip(missing.tolist(), made.values(), strict=True))
        return [self._devices[place] for place in places.tolist()]

    def admissions(self) -> Iterable[Admission]:
        """Everything that was relaxed in the block."""
        for group in self.groups:
            batch = group.batch
            for limit, asked, granted in batch.granted:
                for row in np.flatnonzero(granted != asked):
                    session = str(batch.columns["session_id"][row]) if isinstance(batch, Stays) else None
                    if not np.isnan(asked[row]):
                        name = str(batch.columns["resource_id"][row])
                        yield Admission(name, limit, float(asked[row]), float(granted[row]), "", session)
            odd = group.places[batch.odd]
            for device in self.devices(group.kind, odd):
                yield from device.admissions


def _group(table: ResourceTable, places: IndexArray, horizon: Horizon) -> Group:
    columns = dict(table.columns)
    if table.kind is ResourceKind.EV_SESSION:
        chargers, charger = np.unique(places, return_inverse=True)
        return Group(table.kind, admit_stays(columns, charger, len(chargers), horizon), chargers)
    state = StateColumns.of(horizon.states, columns["resource_id"])
    return Group(table.kind, _ADMITS[table.kind](columns, state, horizon), places)
