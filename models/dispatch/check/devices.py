"""Resources one by one, as the checker sees them: typed rows as admitted, and the check of their kind."""

from dataclasses import dataclass
from typing import Any

from models.dispatch.check.admitting import (
    admit_interruptible,
    admit_shiftable,
    admit_stays,
    admit_storage,
    admit_thermal,
)
from models.dispatch.check.charging import Stay, check_charger, stays_of
from models.dispatch.check.generation import check_generator, check_pv
from models.dispatch.check.horizon import DeviceCheck, Horizon
from models.dispatch.check.loads import check_curtailable, check_interruptible
from models.dispatch.check.shifting import check_shiftable
from models.dispatch.check.storage import check_storage
from models.dispatch.check.thermal import check_thermal
from models.dispatch.problem import DispatchProblem
from models.fleet import ResourceTable
from models.intervals import FloatArray
from models.plan import Admission
from models.resources import ResourceKind

_CHECKS: dict[ResourceKind, Any] = {
    ResourceKind.STORAGE: check_storage,
    ResourceKind.CURTAILABLE_LOAD: check_curtailable,
    ResourceKind.INTERRUPTIBLE_LOAD: check_interruptible,
    ResourceKind.SHIFTABLE_LOAD: check_shiftable,
    ResourceKind.THERMAL_LOAD: check_thermal,
    ResourceKind.GENERATOR: check_generator,
    ResourceKind.PV: check_pv,
}

_ADMITS: dict[ResourceKind, Any] = {
    ResourceKind.STORAGE: admit_storage,
    ResourceKind.INTERRUPTIBLE_LOAD: admit_interruptible,
    ResourceKind.SHIFTABLE_LOAD: admit_shiftable,
    ResourceKind.THERMAL_LOAD: admit_thermal,
}


@dataclass(frozen=True)
class Device:
    """One resource: ``row`` as admitted (of a charger: its first stay), ``stays`` of a charger, what was relaxed."""

    resource_id: str
    kind: ResourceKind
    row: Any
    stays: list[Stay]
    admissions: list[Admission]

    def check(self, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
        """Check net power (T,) against every limit of the resource."""
        if self.kind is ResourceKind.EV_SESSION:
            return check_charger(self.stays, power_kw, horizon)
        return _CHECKS[self.kind](self.row, power_kw, horizon)  # type: ignore[no-any-return]


def devices_in(table: ResourceTable, horizon: Horizon) -> dict[str, Device]:
    """Every resource of a portfolio table, by its id."""
    if table.kind is ResourceKind.EV_SESSION:
        return _chargers(table, horizon)
    found: dict[str, Device] = {}
    admit = _ADMITS.get(table.kind)
    for row in table.rows():
        admitted, admissions = (row, []) if admit is None else admit(row, horizon)
        found[row.resource_id] = Device(row.resource_id, table.kind, admitted, [], admissions)
    return found


def _chargers(table: ResourceTable, horizon: Horizon) -> dict[str, Device]:
    sessions: dict[str, list[Any]] = {}
    for row in table.rows():
        sessions.setdefault(row.resource_id, []).append(row)
    found: dict[str, Device] = {}
    for name, rows in sessions.items():
        stays, admissions = admit_stays(stays_of(rows, horizon), horizon)
        found[name] = Device(name, table.kind, rows[0], stays, admissions)
    return found


def devices_of(problem: DispatchProblem, horizon: Horizon) -> list[Device]:
    """Every resource once, in the order of ``fleet.resource_ids``."""
    found: dict[str, Device] = {}
    for table in problem.fleet.tables.values():
        found |= devices_in(table, horizon)
    return [found[name] for name in problem.fleet.resource_ids]
