"""Thermal loads in plain arrays (equations T1-T7 of ``reference/thermal.py``)."""

import numpy as np

from models.dispatch.fast.explicit.draft import Draft
from models.dispatch.fast.explicit.table import KindTable


def add_thermal(draft: Draft, loads: KindTable) -> None:
    """Write T1 to T7.  Columns: v, w, s (n, T)."""
    hours, own, base = draft.hours, loads.at[:, None], loads.load_kw()
    decay = loads["decay_per_hour"][:, None]
    leaks = np.where(decay > 0, decay, 1.0)
    kept = np.exp(-decay * hours)
    gain = np.where(decay > 0, -np.expm1(-decay * hours) / leaks, hours)
    less_limit = np.minimum(loads["decrease_limit_kw"][:, None], base)
    discomfort = loads["discomfort_cost_per_kwh"][:, None] * hours
    floor = np.tile(-loads["store_low_kwh"][:, None], (1, len(hours)))
    floor[:, -1] = np.maximum(floor[:, -1], loads["store_end_min_kwh"])
    more = draft.column(own, high=loads["increase_limit_kw"][:, None] * np.ones(len(hours)))
    less = draft.column(own, high=less_limit, cost=discomfort)
    store = draft.column(own, low=floor, high=loads["store_high_kwh"][:, None])
    draft.net_constant[loads.at] += base
    draft.draws(loads.at, more, 1.0)
    draft.draws(loads.at, less, -1.0)
    begin = np.zeros(base.shape)
    begin[:, 0] = kept[:, 0] * loads.state("store_kwh", 0.0)
    leaking = draft.row(base.shape, low=begin, high=begin)
    draft.put(leaking, store, 1.0)
    draft.put(leaking[:, 1:], store[:, :-1], -kept[:, 1:])
    draft.put(leaking, more, -gain)
    draft.put(leaking, less, gain)
