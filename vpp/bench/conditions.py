"""Whether a solved benchmark was a hard one: how many limits bind, what is short, how many devices are integer."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import Requirement
from models.plan_stream import PlanStream
from vpp.bench.fleets import integer_share

TIGHT = 1e-4
"""A zone's limit binds if less than this share of it is left."""
PRICED_PER_KWH = 1e-6
"""A row binds if one more kWh would be worth this much, CNY."""


def conditions(problem: DispatchProblem, stream: PlanStream) -> dict[str, Any]:
    """The conditions of the benchmark, measured at the plan.

    ``*_tight_share``: zone-intervals whose limit is used up (``TIGHT``); ``*_priced_share``: those with a price in the
    plan's table; of the events and rebound caps the rows with a price.  ``unmet_kwh``: all slacks together.
    """
    zones, count = problem.zone_load_kw.shape
    total = problem.zone_load_kw + zone_power_kw(problem, stream)
    left = problem.zone_limit_kw - total
    priced: Counter[str] = Counter(row.requirement.value for row in stream.prices if row.amount > PRICED_PER_KWH)
    hours = dict(zip(problem.grid.starts, problem.grid.hours.tolist(), strict=True))
    unmet: Counter[str] = Counter()
    for row in stream.unmet:
        unmet[row.requirement.value] += row.amount * hours[row.interval_start]
    return {
        "zone_limits_tight_share": float((left <= TIGHT * np.abs(problem.zone_limit_kw)).mean()),
        "zone_limits_priced_share": priced[Requirement.ZONE_LIMIT.value] / (zones * count),
        "priced_rows": {name.value: priced[name.value] for name in Requirement},
        "unmet_kwh": dict(unmet),
        "unmet_kwh_total": float(sum(unmet.values())),
        "integer_share": integer_share(problem.fleet),
        "kinds": {kind.value: len(table) for kind, table in problem.fleet.tables.items()},
        "city_peak_kw": float(total.sum(axis=0).max()),
        "targets_kw": {event.event_id: event.target_kw for event in problem.events},
    }


def zone_power_kw(problem: DispatchProblem, stream: PlanStream) -> FloatArray:
    """Power of the portfolio by zone, (Z, T), summed over the handed out schedules."""
    index = pd.Index(stream.resource_ids, dtype=object)
    zone = np.zeros(len(index), dtype=np.int64)
    for table in problem.fleet.tables.values():
        rows = index.get_indexer(pd.Index(table.columns["resource_id"], dtype=object))
        zone[rows] = pd.Index(problem.zones, dtype=object).get_indexer(pd.Index(table.columns["zone_id"], dtype=object))
    total = np.zeros_like(problem.zone_load_kw)
    seen = 0
    for block in stream.blocks():
        here = zone[seen : seen + len(block.resource_ids)]
        seen += len(here)
        order = np.argsort(here, kind="stable")
        found, first = np.unique(here[order], return_index=True)
        total[found] += np.add.reduceat(block.power_kw[order], first, axis=0)
    return np.asarray(total)
