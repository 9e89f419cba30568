"""The city in plain arrays: a fleet's equations and the coupling rows M1-M5 with their slacks.

The equations are those of ``reference/city.py``.  A coupling row reads  Σ weight p - slack ≤ -constant, so that its
dual is the price of one more kW (times Δ).  Columns: the fleet's (M6 and M7 among them), then one slack per row.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.dispatch.fast.coupling import Classes, CouplingRows, coupling_rows
from models.dispatch.fast.explicit.draft import ExplicitModel, IntArray
from models.dispatch.fast.explicit.model import tariff_prices
from models.dispatch.fast.explicit.program import Arrays
from models.dispatch.fast.explicit.real_time import with_real_time
from models.dispatch.problem import DispatchProblem
from models.errors import InputError, InputFault
from models.intervals import FloatArray


@dataclass(frozen=True)
class ExplicitCity:
    """One city in arrays.  N coupling rows, R resources, T intervals.

    ``weights``: (N, R T) factor of net power in every coupling row.  ``first_row``: where the N rows begin in
    ``arrays``.  ``price_per_kwh``: (R, T) tariffs.  ``constant``: of the objective, CNY.
    """

    problem: DispatchProblem
    model: ExplicitModel
    rows: CouplingRows
    weights: sparse.csr_matrix
    arrays: Arrays
    first_row: int
    price_per_kwh: FloatArray
    constant: float

    def device_part(self, x: FloatArray) -> FloatArray:
        """The columns of the fleet."""
        return x[: len(self.model.cost)]

    def prices(self, row_dual: FloatArray) -> FloatArray:
        """λ of the coupling rows, (N,), CNY per kWh, from HiGHS's duals of all rows; 0 ≤ λ ≤ penalty."""
        mine = row_dual[self.first_row : self.first_row + len(self.rows.constant)]
        return np.asarray(np.clip(-mine / self.rows.hours, 0.0, self.rows.penalty))

    def effective_prices(self, prices: FloatArray) -> FloatArray:
        """Tariff plus what λ (N,) adds to it, CNY per kWh, (R, T)."""
        added = self.weights.T @ (prices * self.rows.hours)
        return np.asarray(self.price_per_kwh + added.reshape(self.price_per_kwh.shape) / self.model.hours)

    def slack_kw(self, power_kw: FloatArray) -> FloatArray:
        """What every coupling row needs of slack under a schedule (R, T), (N,)."""
        return np.asarray(np.maximum(self.rows.constant + self.weights @ power_kw.ravel(), 0.0))

    def cost_of(self, x: FloatArray) -> float:
        """Cost of the fleet's columns, CNY, with every slack at exactly what its row needs."""
        devices = self.device_part(x)
        power = self.model.power_kw(devices)
        energy = float((power * self.price_per_kwh * self.model.hours).sum())
        own = float(self.model.cost @ devices) + self.model.cost_constant
        unmet = float((self.slack_kw(power) * self.rows.penalty) @ self.rows.hours)
        return energy + own + unmet


def explicit_city(problem: DispatchProblem, model: ExplicitModel, baseline_kw: FloatArray) -> ExplicitCity:
    """The arrays of an *admitted* problem whose whole fleet is ``model``; ``baseline_kw``: (R, T).

    M6 and M7 are added where the problem is a re-plan.  Raises ``InputError`` if the model leaves a resource out.
    """
    if model.resource_ids != problem.fleet.resource_ids:
        raise InputError([InputFault("model", "resource_ids", len(model.resource_ids), "must be the whole fleet")])
    model = with_real_time(problem, model)
    rows, weights = _coupling(problem, model, baseline_kw)
    prices = tariff_prices(problem, model)
    cost, constant = model.cost_at(prices)
    free = -(rows.constant + weights @ model.net_constant.ravel())
    count, own = len(free), len(model.row_low)
    slack = sparse.vstack([sparse.csr_matrix((own, count)), -sparse.identity(count, format="csr")])
    matrix = sparse.hstack([sparse.vstack([model.matrix, weights @ model.net]), slack], format="csr")
    matrix.sort_indices()
    arrays = Arrays(
        cost=np.concatenate([cost, rows.penalty * rows.hours]),
        low=np.concatenate([model.low, np.zeros(count)]),
        high=np.concatenate([model.high, np.full(count, np.inf)]),
        is_integer=np.concatenate([model.is_integer, np.zeros(count, dtype=np.bool_)]),
        matrix=matrix,
        row_low=np.concatenate([model.row_low, np.full(count, -np.inf)]),
        row_high=np.concatenate([model.row_high, free]),
    )
    return ExplicitCity(problem, model, rows, weights, arrays, len(model.row_low), prices, constant)


# ---- M1 to M5


def _coupling(
    problem: DispatchProblem, model: ExplicitModel, baseline_kw: FloatArray
) -> tuple[CouplingRows, sparse.csr_matrix]:
    """The rows, and the factor of every resource's power in them, (N, R T)."""
    tables = {kind: table.columns for kind, table in problem.fleet.tables.items()}
    classes = Classes.of(problem, tables)
    what = [problem.attributes[name] for name in model.resource_ids]
    table = {
        "zone_id": np.array([each.zone_id for each in what], dtype=object),
        "aggregator_id": np.array([each.aggregator_id for each in what], dtype=object),
        "pillar": np.array([each.pillar for each in what], dtype=object),
    }
    zone, aggregator, pillar = classes.attributes(table)
    of_class = classes.class_of[zone, aggregator, pillar]
    reliability = np.array([each.reliability_fraction for each in what], dtype=np.float64)
    zone_kw = np.zeros((len(problem.zones), len(problem.grid)))
    np.add.at(zone_kw, zone, baseline_kw)
    class_kw = np.zeros((len(classes.aggregator_of), len(problem.grid)))
    np.add.at(class_kw, of_class, reliability[:, None] * baseline_kw)
    rows = coupling_rows(problem, classes, zone_kw, class_kw)
    return rows, _weights(rows, zone, of_class, reliability)


def _weights(rows: CouplingRows, zone: IntArray, of_class: IntArray, reliability: FloatArray) -> sparse.csr_matrix:
    """Row by row would be slow: one requirement at a time, all its members and intervals at once."""
    at: list[IntArray] = [np.empty(0, dtype=np.int64)]
    columns: list[IntArray] = [np.empty(0, dtype=np.int64)]
    values: list[FloatArray] = [np.empty(0)]
    for family in np.unique(rows.family):
        mine = np.flatnonzero(rows.family == family)
        kind = int(rows.zone[mine[0]])
        if kind >= 0:
            weight = (zone == kind).astype(np.float64)
        elif kind == -1:
            weight = np.ones(len(zone))
        else:
            weight = rows.class_weight[mine[0]][of_class] * reliability
        members = np.flatnonzero(weight)
        shape = (len(mine), len(members))
        at.append(np.broadcast_to(mine[:, None], shape).ravel())
        columns.append((members[None, :] * rows.intervals + rows.t[mine][:, None]).ravel())
        values.append(np.broadcast_to(weight[members], shape).ravel())
    size = (len(rows.constant), len(zone) * rows.intervals)
    entries = (np.concatenate(values), (np.concatenate(at), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=size)
