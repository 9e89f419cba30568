"""The city in plain arrays: a fleet's equations, coupling rows M1-M5 with their slacks, M6 and M7 in real time.

The equations are those of ``reference/city.py``.  A coupling row reads  Σ weight p - slack ≤ -constant, so that its
dual is the price of one more kW (times Δ).  Columns: the fleet's, one slack per row, then M6's and M7's.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.dispatch.fast.coupling import Classes, CouplingRows, coupling_rows
from models.dispatch.fast.explicit.draft import ExplicitModel, IntArray
from models.dispatch.fast.explicit.model import tariff_prices
from models.dispatch.fast.explicit.program import Arrays
from models.dispatch.problem import DispatchProblem, RealTimeTerms
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

    def cost_at(self, row_dual: FloatArray) -> FloatArray:
        """Cost of the fleet's columns when all rows but its own (M6 and M7 too) are priced at their duals, CNY."""
        count = len(self.model.cost)
        shared = self.arrays.matrix[self.first_row :, :count]
        return np.asarray(self.arrays.cost[:count] - shared.T @ row_dual[self.first_row :])

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
        return energy + own + unmet + _real_time_cost(self.problem, power)


def explicit_city(problem: DispatchProblem, model: ExplicitModel, baseline_kw: FloatArray) -> ExplicitCity:
    """The arrays of an *admitted* problem whose whole fleet is ``model``; ``baseline_kw``: (R, T).

    Raises ``InputError`` if the model leaves resources of the fleet out.
    """
    if model.resource_ids != problem.fleet.resource_ids:
        raise InputError([InputFault("model", "resource_ids", len(model.resource_ids), "must be the whole fleet")])
    rows, weights = _coupling(problem, model, baseline_kw)
    prices = tariff_prices(problem, model)
    cost, constant = model.cost_at(prices)
    free = -(rows.constant + weights @ model.net_constant.ravel())
    count, own = len(free), len(model.row_low)
    slack = sparse.vstack([sparse.csr_matrix((own, count)), -sparse.identity(count, format="csr")])
    matrix = sparse.hstack([sparse.vstack([model.matrix, weights @ model.net]), slack], format="csr")
    costs, low = [cost, rows.penalty * rows.hours], [model.low, np.zeros(count)]
    row_low, row_high = [model.row_low, np.full(count, -np.inf)], [model.row_high, free]
    for part in _real_time(problem, model):
        matrix = sparse.bmat([[matrix, None], [_wide(part.net, matrix.shape[1]), part.matrix]], format="csr")
        costs.append(part.cost)
        low.append(np.zeros(len(part.cost)))
        row_low.append(part.row_low)
        row_high.append(part.row_high)
    all_costs = np.concatenate(costs)
    more = len(all_costs) - len(model.cost)
    matrix.sort_indices()
    arrays = Arrays(
        cost=all_costs,
        low=np.concatenate(low),
        high=np.concatenate([model.high, np.full(more, np.inf)]),
        is_integer=np.concatenate([model.is_integer, np.zeros(more, dtype=np.bool_)]),
        matrix=matrix,
        row_low=np.concatenate(row_low),
        row_high=np.concatenate(row_high),
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


# ---- M6 and M7


@dataclass(frozen=True)
class _Parts:
    """New columns and what they cost; new rows: ``net`` over the fleet's columns, ``matrix`` over the new ones."""

    cost: FloatArray
    matrix: sparse.csr_matrix
    net: sparse.csr_matrix
    row_low: FloatArray
    row_high: FloatArray


def _real_time(problem: DispatchProblem, model: ExplicitModel) -> list[_Parts]:
    terms = problem.real_time
    if terms is None:
        return []
    return [part for part in (_switching(problem, model, terms), _straying(problem, model, terms)) if part is not None]


def _switching(problem: DispatchProblem, model: ExplicitModel, terms: RealTimeTerms) -> _Parts | None:
    """(M6) switch_i ≥ ± (p_{i,1} - now_i)"""
    price, count = problem.penalties.switch_cost_per_kw, len(model.hours)
    known = np.flatnonzero(~np.isnan(terms.now_kw))
    if price == 0 or not known.size:
        return None
    net = model.net[known * count]
    away = terms.now_kw[known] - model.net_constant[known, 0]
    one = sparse.identity(len(known), format="csr")
    low = np.concatenate([-away, away])
    return _Parts(
        cost=np.full(len(known), price),
        matrix=sparse.vstack([one, one], format="csr"),
        net=sparse.vstack([-net, net], format="csr"),
        row_low=low,
        row_high=np.full(len(low), np.inf),
    )


def _straying(problem: DispatchProblem, model: ExplicitModel, terms: RealTimeTerms) -> _Parts | None:
    """(M7) p_{i,t} - plan_{i,t} = up_{i,t} - down_{i,t}"""
    price = problem.penalties.stray_cost_per_kwh
    applies = np.asarray(terms.stray_applies, dtype=np.float64) * model.hours * price
    counts = ~np.isnan(terms.plan_kw) & (applies > 0)
    chosen = np.flatnonzero(counts)
    if not chosen.size:
        return None
    away = (terms.plan_kw - model.net_constant).ravel()[chosen]
    per_kw = np.broadcast_to(applies, counts.shape).ravel()[chosen]
    one = sparse.identity(len(chosen), format="csr")
    return _Parts(
        cost=np.concatenate([per_kw, per_kw]),
        matrix=sparse.hstack([-one, one], format="csr"),
        net=model.net[chosen],
        row_low=away,
        row_high=away,
    )


def _wide(matrix: sparse.csr_matrix, columns: int) -> sparse.csr_matrix:
    """The matrix with empty columns added on the right."""
    return sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], columns))


def _real_time_cost(problem: DispatchProblem, power_kw: FloatArray) -> float:
    """What switching now, and straying from the day plan, costs."""
    terms, penalties = problem.real_time, problem.penalties
    if terms is None:
        return 0.0
    switched = np.nansum(np.abs(power_kw[:, 0] - terms.now_kw))
    strayed = np.nansum(np.abs(power_kw - terms.plan_kw) * terms.stray_applies * problem.grid.hours)
    return float(penalties.switch_cost_per_kw * switched + penalties.stray_cost_per_kwh * strayed)
