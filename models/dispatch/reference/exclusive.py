"""Charging and discharging at once: where a relaxed solution does both, and whether it gains by it."""

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.compiled import CompiledCity, IntArray
from models.dispatch.reference.storage import end_energy_kwh, start_kwh
from models.dispatch.reference.structure import Entry
from models.intervals import FloatArray
from models.resources import Storage

TOLERANCE = 1e-7


def doing_both(city: CompiledCity, entry: Entry, i: int, x: FloatArray, problem: DispatchProblem) -> bool:
    """True if entry i charges and discharges at once in ``x``, and its net power alone would break a limit.

    Where the net power alone keeps all limits, doing both only wears the battery: the schedule stands as net power
    and costs no more.
    """
    places = city.columns[i]
    if "discharge_kw" not in places or not _both(x, places["charge_kw"], places["discharge_kw"]):
        return _both_after(x, places)
    if isinstance(entry.row, Storage):
        return _overfills(entry.row, x[places["net_kw"]], problem)
    return True


def _both(x: FloatArray, first: IntArray, second: IntArray) -> bool:
    one, two = np.where(first >= 0, x[first], 0.0), np.where(second >= 0, x[second], 0.0)
    return bool(((one > TOLERANCE) & (two > TOLERANCE)).any())


def _both_after(x: FloatArray, places: dict[str, IntArray]) -> bool:
    return "out_after_kwh" in places and _both(x, places["in_after_kwh"], places["out_after_kwh"])


def _overfills(unit: Storage, power_kw: FloatArray, problem: DispatchProblem) -> bool:
    level = end_energy_kwh(unit, power_kw, problem.grid.hours, start_kwh(unit, problem))
    return bool((level > unit.energy_max_kwh + TOLERANCE * max(1.0, unit.energy_max_kwh)).any())
