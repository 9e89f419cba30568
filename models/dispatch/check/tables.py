"""One table of a plan, setpoints or baseline, block by block: findings of suspects, costs, and the energy column."""

from dataclasses import dataclass

import numpy as np

from models.dispatch.check.batches import Block, Group
from models.dispatch.check.devices import Device
from models.dispatch.check.horizon import DeviceCheck, Finding, Horizon, tolerance
from models.dispatch.check.report import Violation
from models.dispatch.check.screens.common import STRICTER, BoolArray, Screened
from models.intervals import FloatArray
from models.resources import ResourceKind

PROFILED = (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD)
"""Kinds whose baseline is profile x scale."""


@dataclass
class TableCheck:
    """What a block's table comes to.

    ``own_cost``, ``late_kwh``: (n,) of every resource.  ``bad``: (n,) which pass a limit (the energy column left out).
    ``violations``: by place.
    ``unlisted``: suspects that nobody looked at one by one.
    """

    own_cost: FloatArray
    late_kwh: FloatArray
    bad: BoolArray
    violations: list[Violation]
    unlisted: int = 0


def check_table(block: Block, power_kw: FloatArray, energy_kwh: FloatArray, table: str, listing: bool) -> TableCheck:
    """Check a block's power and energy, (n, T) each, of the setpoints or of the baseline.

    ``listing``: look at the suspects one by one; else they are counted only.
    """
    count = len(block)
    done = TableCheck(np.zeros(count), np.zeros(count), np.zeros(count, dtype=np.bool_), [])
    found: list[tuple[int, list[Violation]]] = []
    for group in block.groups:
        # undisturbed by definition, whatever the state still demands of it: only the energy column can be wrong
        free = table == "baseline" and group.kind in PROFILED
        screened = group.screen(power_kw) if not free or group.kind is ResourceKind.THERMAL_LOAD else _nothing(group)
        suspect = _wrong_energy(screened, energy_kwh[group.places])
        if not free:
            suspect |= screened.suspect | group.batch.odd
            done.own_cost[group.places], done.late_kwh[group.places] = screened.own_cost, screened.late_kwh
        places = group.places[suspect]
        if not listing:
            done.unlisted += len(places)
            continue
        for place, device in zip(places.tolist(), block.devices(group.kind, places), strict=True):
            check = device.check(power_kw[place], block.horizon)
            if free:
                check.findings, check.own_cost = [], 0.0
            done.own_cost[place], done.late_kwh[place] = check.own_cost, check.late_kwh
            done.bad[place] = bool(check.findings)
            found.append((place, violations_of(device, check, energy_kwh[place], block.horizon, table)))
    for _, violations in sorted(found, key=lambda entry: entry[0]):
        done.violations += violations
    return done


def _nothing(group: Group) -> Screened:
    count = len(group.places)
    return Screened(np.zeros(count, dtype=np.bool_), np.zeros(count), np.zeros(count))


def _wrong_energy(screened: Screened, energy_kwh: FloatArray) -> BoolArray:
    if screened.energy_kwh is None:
        return np.asarray(np.isfinite(energy_kwh).any(axis=1))
    wanted = screened.energy_kwh
    fits = np.abs(energy_kwh - wanted) <= STRICTER * tolerance(wanted)
    return np.asarray((np.isfinite(wanted) & ~fits).any(axis=1))


def violations_of(
    device: Device, check: DeviceCheck, energy_kwh: FloatArray, horizon: Horizon, table: str
) -> list[Violation]:
    """Findings of a device as violations, and its energy column against what was recomputed."""
    findings = list(check.findings)
    if check.energy_kwh is None:
        wrong, wanted = np.isfinite(energy_kwh), np.full_like(energy_kwh, np.nan)
    else:
        wanted = check.energy_kwh
        wrong = np.isfinite(wanted) & ~(np.abs(energy_kwh - wanted) <= tolerance(wanted))
    findings += [
        Finding("energy_column", int(t), float(wanted[t]), float(energy_kwh[t])) for t in np.flatnonzero(wrong)
    ]
    return [_violation(device, finding, horizon, table) for finding in findings]


def _violation(device: Device, finding: Finding, horizon: Horizon, table: str) -> Violation:
    start = None if finding.t is None else horizon.grid.starts[finding.t]
    off = abs(finding.got - finding.allowed)
    return Violation(
        device.resource_id, device.kind.value, finding.limit, start, off, finding.allowed, finding.got, table
    )


def profile_of(group: Group) -> FloatArray:
    """What a group's loads draw undisturbed, (n, T)."""
    return group.batch.series("baseline_profile", "baseline_scale_kw")
