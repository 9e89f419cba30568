"""How much a simulated fleet can really give up in the operator's windows: tried out on copies of the devices.

Every class is ordered what its registration promises to hold for the whole window; what counts is the physics: the
difference to the same devices without orders, in the worst clock hour of the window.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from models.intervals import FloatArray
from simulations.devices.bank import DeviceBank
from simulations.scenarios.generator import GeneratedFleet

STEP = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Callable:
    """What one window can be given, kW: by class in that class's mean, and in total in its worst clock hour."""

    by_class_kw: Mapping[str, float]
    worst_hour_kw: float


def callable_in_windows(generated: GeneratedFleet) -> dict[str, Callable]:
    """By event of the scenario; the fleet's own devices are left as they are (and must stand before the windows)."""
    rows = {row["resource_id"]: row for rows in generated.registrations.values() for row in rows}
    found = {}
    for name, (start, end) in generated.scenario.windows.items():
        before = generated.bank.copy()
        if start > before.now:
            before.advance(start, 300.0)
        own, ordered = before.copy(), before.copy()
        own.advance(end)
        _, own_kw = own.true_power_kw(start, end)
        _order_throughout(ordered, rows, own_kw, start, end)
        _, ordered_kw = ordered.true_power_kw(start, end)
        given = own_kw - ordered_kw
        hours = given.sum(axis=0).reshape(-1, 12).mean(axis=1)
        by_class: dict[str, float] = {}
        for row, resource_id in enumerate(own.resource_ids):
            kind = own.class_of(resource_id)
            by_class[kind] = by_class.get(kind, 0.0) + float(given[row].mean())
        found[name] = Callable(by_class, float(hours.min()))
    return found


def _order_throughout(
    bank: DeviceBank, rows: Mapping[str, Mapping[str, Any]], own_kw: FloatArray, start: datetime, end: datetime
) -> None:
    hours = (end - start).total_seconds() / 3600
    for step in range(own_kw.shape[1]):
        at = start + step * STEP
        for row, resource_id in enumerate(bank.resource_ids):
            power = _promised_kw(rows[resource_id], float(own_kw[row, step]), hours)
            if power is not None and power != own_kw[row, step]:
                bank.command(resource_id, power, at, at + STEP)
        bank.advance(at + STEP)


def _promised_kw(row: Mapping[str, Any], own_kw: float, hours: float) -> float | None:
    """Power a resource is ordered to, by its registered columns; None = it is left alone."""
    match row["kind"]:
        case "thermal_load":
            decay = row["decay_per_hour"]
            held = row["store_low_kwh"] * decay / (1 - np.exp(-decay * hours))
            return float(max(own_kw - min(held, row["decrease_limit_kw"]), 0.0))
        case "storage":
            usable = (row["energy_start_kwh"] - row["energy_min_kwh"]) * row["discharge_efficiency"]
            return float(-min(row["discharge_limit_kw"], usable / hours))
        case "ev_session":
            return None if row["tariff_id"] == "commercial" else float(-row.get("discharge_limit_kw", 0.0) * 0.8)
        case "interruptible_load":
            return float(max(own_kw - row["block_kw"], 0.0))
        case "curtailable_load":
            return float(own_kw * (1 - row["curtail_share"]))
        case "generator":
            return float(-row["power_max_kw"])
        case _:
            return None


def table(generated: GeneratedFleet, found: Mapping[str, Callable]) -> str:
    """Callable kW by class and window as text, with the target beside it."""
    names = list(found)
    lines = [f"{'class':<14}" + "".join(f"{name:>12}" for name in names)]
    lines += [
        f"{each:<14}" + "".join(f"{found[name].by_class_kw.get(each, 0.0):>12.0f}" for name in names)
        for each in _classes(found.values())
    ]
    lines.append(f"{'worst hour':<14}" + "".join(f"{found[name].worst_hour_kw:>12.0f}" for name in names))
    lines.append(f"{'5 % of peak':<14}" + "".join(f"{generated.target_kw:>12.0f}" for _ in names))
    return "\n".join(lines)


def _classes(found: Iterable[Callable]) -> list[str]:
    return sorted({each for one in found for each in one.by_class_kw})
