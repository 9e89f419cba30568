"""Real time in plain arrays: what switching now (M6), and straying from the day plan (M7), costs each resource."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from models.dispatch.fast.explicit.draft import ExplicitModel, IntArray
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray


@dataclass(frozen=True)
class _Terms:
    """New columns of resources ``owner`` and what they cost; new rows: ``net`` over the model's columns, ``own`` over
    the new ones.
    """

    owner: IntArray
    cost: FloatArray
    net: sparse.csr_matrix
    own: sparse.csr_matrix
    row_low: FloatArray
    row_high: FloatArray


def with_real_time(problem: DispatchProblem, model: ExplicitModel) -> ExplicitModel:
    """The model with M6 and M7 as part of each resource's own cost; the same model where the problem has no such terms.

        M6:  switch_i ≥ ± (p_{i,1} - now_i)                 cost switch_cost, first interval only
        M7:  p_{i,t} - plan_{i,t} = up_{i,t} - down_{i,t}   cost stray_cost Δ_t (up + down) outside events

    Where ``now`` or the plan is not known (NaN), there is no term.
    """
    terms = problem.real_time
    if terms is None:
        return model
    row_of = {name: row for row, name in enumerate(problem.fleet.resource_ids)}
    rows = np.array([row_of[name] for name in model.resource_ids], dtype=np.int64)
    applies = np.asarray(terms.stray_applies, dtype=np.float64) * model.hours
    per_kw = problem.penalties.stray_cost_per_kwh * applies
    model = _extended(model, _switching(model, terms.now_kw[rows], problem.penalties.switch_cost_per_kw))
    return _extended(model, _straying(model, terms.plan_kw[rows], per_kw))


def _switching(model: ExplicitModel, now_kw: FloatArray, price_per_kw: float) -> _Terms:
    known = np.flatnonzero(~np.isnan(now_kw) & (price_per_kw > 0))
    net = model.net[known * len(model.hours)]
    away = now_kw[known] - model.net_constant[known, 0]
    one = sparse.identity(len(known), format="csr")
    return _Terms(
        owner=known,
        cost=np.full(len(known), price_per_kw),
        net=sparse.vstack([-net, net], format="csr"),
        own=sparse.vstack([one, one], format="csr"),
        row_low=np.concatenate([-away, away]),
        row_high=np.full(2 * len(known), np.inf),
    )


def _straying(model: ExplicitModel, plan_kw: FloatArray, price_per_kw: FloatArray) -> _Terms:
    counts = ~np.isnan(plan_kw) & (price_per_kw > 0)
    chosen = np.flatnonzero(counts)
    resource, interval = np.nonzero(counts)
    away = (plan_kw - model.net_constant).ravel()[chosen]
    one = sparse.identity(len(chosen), format="csr")
    return _Terms(
        owner=np.concatenate([resource, resource]),
        cost=np.tile(price_per_kw[interval], 2),
        net=model.net[chosen],
        own=sparse.hstack([-one, one], format="csr"),
        row_low=away,
        row_high=away,
    )


def _extended(model: ExplicitModel, terms: _Terms) -> ExplicitModel:
    more, count = len(terms.owner), len(model.cost)
    if not more:
        return model
    net = sparse.csr_matrix((model.net.data, model.net.indices, model.net.indptr), (model.net.shape[0], count + more))
    zeros = np.zeros(more)
    return replace(
        model,
        cost=np.concatenate([model.cost, terms.cost]),
        low=np.concatenate([model.low, zeros]),
        high=np.concatenate([model.high, np.full(more, np.inf)]),
        is_integer=np.concatenate([model.is_integer, zeros.astype(np.bool_)]),
        matrix=sparse.bmat([[model.matrix, None], [terms.net, terms.own]], format="csr"),
        row_low=np.concatenate([model.row_low, terms.row_low]),
        row_high=np.concatenate([model.row_high, terms.row_high]),
        net=net,
        owner=np.concatenate([model.owner, terms.owner]),
        late=np.concatenate([model.late, zeros]),
    )
