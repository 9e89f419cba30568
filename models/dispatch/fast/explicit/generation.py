"""Generators and photovoltaic plants in plain arrays (equations G1-G9, P1-P2 of ``reference/generation.py``)."""

import numpy as np

from models.dispatch.fast.explicit.draft import Draft
from models.dispatch.fast.explicit.runs import add_recent
from models.dispatch.fast.explicit.table import EPS, KindTable


def add_generators(draft: Draft, units: KindTable) -> None:
    """Write G1 to G9.  Columns: g, n, y, w (n, T)."""
    hours, own, tau_h = draft.hours, units.at[:, None], units.problem.grid.tau_h
    least, most = units["power_min_kw"], units["power_max_kw"]
    shape = (len(units), len(hours))
    ones = np.ones(shape)
    was_on = units.state("on", 0.0)
    power = -units.state("power_kw", 0.0)
    was_kw = np.where(was_on > 0, np.minimum(np.maximum(power, least), most), 0.0)
    time_h = np.where(was_on > 0, units["minimum_up_h"], units["minimum_down_h"])
    held = tau_h < (time_h - units.state("hours_in_state_h", np.inf))[:, None] - EPS
    must, may = held & (was_on > 0)[:, None], ~(held & (was_on == 0)[:, None])

    output = draft.column(own, high=most[:, None], cost=units["cost_per_kwh"][:, None] * hours)
    no_load = units["no_load_cost_per_h"][:, None] * hours
    is_on = draft.column(own, low=must, high=may, cost=no_load, integer=True, name="is_on")
    starts = draft.column(own, high=ones, cost=units["start_cost"][:, None], name="starts")
    stops = draft.column(own, high=ones)
    draft.draws(units.at, output, -1.0)
    for limit, low, high in ((least, 0.0, np.inf), (most, -np.inf, 0.0)):
        rows = draft.row(shape, low=low, high=high)
        draft.put(rows, output, 1.0)
        draft.put(rows, is_on, -limit[:, None])

    begin = np.zeros(shape)
    begin[:, 0] = -was_on
    switching = draft.row(shape, low=begin, high=begin)
    draft.put(switching, starts, 1.0)
    draft.put(switching, stops, -1.0)
    draft.put(switching, is_on, -1.0)
    draft.put(switching[:, 1:], is_on[:, :-1], 1.0)

    ramp = units["ramp_kw_per_h"][:, None] * hours
    first = np.maximum(least[:, None], ramp)
    begin[:, 0] = was_kw + ramp[:, 0] * was_on
    upwards = draft.row(shape, high=begin)
    draft.put(upwards, output, 1.0)
    draft.put(upwards[:, 1:], output[:, :-1], -1.0)
    draft.put(upwards[:, 1:], is_on[:, :-1], -ramp[:, 1:])
    draft.put(upwards, starts, -first)
    begin[:, 0] = -was_kw
    downwards = draft.row(shape, high=begin)
    draft.put(downwards, output, -1.0)
    draft.put(downwards[:, 1:], output[:, :-1], 1.0)
    draft.put(downwards, is_on, -ramp)
    draft.put(downwards, stops, -first)

    up = draft.row(shape, high=0.0)
    add_recent(draft, up, starts, units["minimum_up_h"], tau_h)
    draft.put(up, is_on, -1.0)
    down = draft.row(shape, high=1.0)
    add_recent(draft, down, stops, units["minimum_down_h"], tau_h)
    draft.put(down, is_on, 1.0)


def add_pv(draft: Draft, plants: KindTable) -> None:
    """Write P1 and P2.  Columns: r (n, T)."""
    profile = plants.series(plants.problem.profiles, "available_profile")
    available = np.maximum(profile * plants["available_scale_kw"][:, None], 0.0)
    cost = plants["curtail_cost_per_kwh"][:, None] * draft.hours
    curtailed = draft.column(plants.at[:, None], high=available, cost=cost)
    draft.net_constant[plants.at] -= available
    draft.draws(plants.at, curtailed, 1.0)
