"""Shiftable loads by the thousand: window, limits and energy; a run is recognised by its first interval."""

import numpy as np

from models.dispatch.check.horizon import Horizon, tolerance
from models.dispatch.check.screens.common import Batch, BoolArray, Granted, IndexArray, Screened, margin, or_else
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

_EPS = 1e-9


def is_run(columns: Batch | dict[str, Column]) -> BoolArray:
    """Which loads are one contiguous run, (n,)."""
    names = columns.columns["run_profile"] if isinstance(columns, Batch) else columns["run_profile"]
    return np.fromiter(map(bool, names), np.bool_, len(names))


def admit_shiftables(columns: dict[str, Column], state: StateColumns, horizon: Horizon) -> Batch:
    """Loads with the energy that the rest of their windows can hold; a run that comes too late is odd."""
    closes = horizon.hours_since_start(columns["window_end"])
    opens = horizon.hours_since_start(columns["window_start"])
    asked, done = columns["energy_kwh"], or_else(state.delivered_kwh, 0.0)
    rest_h = closes - np.maximum(opens, 0.0)
    least, most = columns["power_min_kw"] * rest_h, columns["power_max_kw"] * rest_h
    runs, over = is_run(columns), closes <= 0
    granted = np.where(runs | over, asked, done + np.clip(asked - done, least, most))
    batch = Batch(
        {**columns, "energy_kwh": granted, "opens_h": opens, "closes_h": closes},
        state, horizon, (Granted("energy_kwh", asked, granted),), runs & ~over,
    )  # fmt: skip
    if not batch.odd.any():
        return batch
    # a run is odd if it cannot begin in time, and where nothing tells its first interval from none
    first = np.searchsorted(horizon.tau_h, opens - _EPS)
    edges = np.concatenate([horizon.tau_h, horizon.ends_h[-1:]])
    begin = np.where(first < len(horizon.tau_h), edges[first], np.maximum(edges[-1], opens))
    late = begin + run_hours(batch) > closes + _EPS
    plain = np.fromiter(
        (bool(name) and horizon.run_profiles[name][0] > 0 for name in columns["run_profile"]), np.bool_, len(batch)
    )
    batch.odd[:] &= (
        (late & ~begun(batch) & (energy_left_kwh(batch) > _EPS))
        | ~plain
        | (asked <= 0)
        | (columns["power_max_kw"] <= 0)
    )
    return batch


def begun(batch: Batch) -> BoolArray:
    """Whose run began before the horizon, (n,)."""
    return np.asarray(or_else(batch.state.on, 0.0) > 0)


def energy_left_kwh(batch: Batch) -> FloatArray:
    """What is still to be used from the horizon's start on, (n,)."""
    left = np.maximum(0.0, batch.number("energy_kwh") - or_else(batch.state.delivered_kwh, 0.0))
    return np.where(batch.number("closes_h") <= 0, 0.0, left)


def run_hours(batch: Batch) -> FloatArray:
    """Length of every run, (n,); 0 for what is no run or has no power."""
    run_profiles = batch.horizon.run_profiles
    found = np.zeros(len(batch))
    for name, here in groups(batch):
        if name:
            run = run_profiles[name]
            full = batch.number("power_max_kw")[here] * float(run.sum())
            found[here] = np.divide(
                len(run) * batch.number("energy_kwh")[here], full, out=np.zeros(len(here)), where=full > 0
            )
    return found


def groups(batch: Batch) -> list[tuple[str, np.ndarray]]:
    """Loads by run profile: its name ("" for none), and their rows."""
    names = batch.columns["run_profile"]
    codes: dict[str, int] = {}
    code = np.fromiter((codes.setdefault(name or "", len(codes)) for name in names), np.intp, len(names))
    return [(name, np.flatnonzero(code == place)) for name, place in codes.items()]


def shapes_kw(batch: Batch, start_h: FloatArray) -> FloatArray:
    """Mean power, (n, T), of every load's run (or of full power until the energy is reached) from ``start_h`` on."""
    horizon = batch.horizon
    edges = np.concatenate([horizon.tau_h[:1], horizon.ends_h])
    found = np.zeros((len(batch), len(horizon.hours)))
    for name, here in groups(batch):
        run = horizon.run_profiles[name] if name else np.ones(1)
        power = batch.number("power_max_kw")[here]
        full = power * float(run.sum())
        step_h = np.divide(batch.number("energy_kwh")[here], full, out=np.zeros(len(here)), where=full > 0)
        steps = np.concatenate([[0.0], np.cumsum(run)])
        # with no step there is nothing to draw, wherever the edges lie
        since = np.divide(
            edges - start_h[here, None],
            step_h[:, None],
            out=np.zeros((len(here), len(edges))),
            where=step_h[:, None] > 0,
        )
        since = np.clip(since, 0.0, len(run))
        whole = np.minimum(since.astype(np.intp), len(run) - 1)
        used = (steps[whole] + (since - whole) * run[whole]) * (power * step_h)[:, None]
        found[here] = np.diff(used, axis=1) / horizon.hours
    return found


def energy_range_kwh(batch: Batch, open_h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least and most that may be used inside the horizon, (n,), of which ``open_h`` lie in the window."""
    low_kw, high_kw = batch.number("power_min_kw"), batch.number("power_max_kw")
    left, end_h = energy_left_kwh(batch), float(batch.horizon.ends_h[-1])
    later = np.maximum(0.0, batch.number("closes_h") - np.maximum(end_h, batch.number("opens_h")))
    least, most = low_kw * open_h, high_kw * open_h
    return np.clip(left - high_kw * later, least, most), np.clip(left - low_kw * later, least, most)


def has_preference(batch: Batch) -> BoolArray:
    """Which loads have a preferred start, (n,)."""
    return ~np.isnat(batch.columns["preferred_start"])


def preferred_kw(batch: Batch) -> FloatArray:
    """The preferred schedule of every load, (n, T); 0 where there is no preference."""
    some = has_preference(batch)
    start = batch.horizon.hours_since_start(np.where(some, batch.columns["preferred_start"], np.datetime64(0, "us")))
    return np.where(some[:, None], shapes_kw(batch, start), 0.0)


def screen_shiftables(batch: Batch, power_kw: FloatArray) -> Screened:
    """Window, power limits and energy of what is spread; start and shape of what runs."""
    runs = is_run(batch)
    suspect = np.where(runs, _wrong_run(batch, power_kw), _wrong_spread(batch, power_kw))
    costs = has_preference(batch)
    costs &= ~runs | (~begun(batch) & (energy_left_kwh(batch) > _EPS) & may_begin(batch).any(axis=1))
    away = np.abs(power_kw - preferred_kw(batch)) @ batch.horizon.hours
    own_cost = np.where(costs, batch.number("cost_per_kwh") * 0.5 * away, 0.0)
    return Screened(suspect | batch.odd, own_cost, np.zeros(len(batch)))


def _wrong_spread(batch: Batch, power_kw: FloatArray) -> BoolArray:
    low_kw, high_kw = batch.number("power_min_kw"), batch.number("power_max_kw")
    overlap = batch.horizon.overlap_h(batch.number("opens_h"), batch.number("closes_h"))
    share = overlap / batch.horizon.hours
    inside = share > 0
    suspect = np.any(~inside & (np.abs(power_kw) > margin(0.0)), axis=1)
    suspect |= np.any(inside & (power_kw > high_kw[:, None] * share + margin(high_kw)[:, None]), axis=1)
    suspect |= np.any(inside & (power_kw < low_kw[:, None] * share - margin(low_kw)[:, None]), axis=1)
    low, high = energy_range_kwh(batch, overlap.sum(axis=1))
    used, slack = power_kw @ batch.horizon.hours, margin(batch.number("energy_kwh"))
    return np.asarray(suspect | (used > high + slack) | (used < low - slack))


def may_begin(batch: Batch) -> BoolArray:
    """Intervals with whose start a run may begin, (n, T)."""
    tau_h = batch.horizon.tau_h
    opens, closes = batch.upright("opens_h"), batch.upright("closes_h")
    return np.asarray((tau_h >= opens - _EPS) & (tau_h + run_hours(batch)[:, None] <= closes + _EPS))


def may_wait(batch: Batch) -> BoolArray:
    """Which runs may come after the horizon, or can begin nowhere any more, (n,)."""
    later = np.maximum(batch.horizon.ends_h[-1], batch.number("opens_h")) + run_hours(batch)
    return np.asarray((later <= batch.number("closes_h") + _EPS) | ~may_begin(batch).any(axis=1))


def is_done(batch: Batch) -> BoolArray:
    """Which loads have nothing left to use, (n,)."""
    return np.asarray(energy_left_kwh(batch) <= _EPS)


def run_steps(batch: Batch) -> tuple[FloatArray, IndexArray, FloatArray]:
    """Hours of one step of every run, (n,), and the running sums of all shapes: where each begins (n + 1,), flat."""
    step_h = np.zeros(len(batch))
    sums: list[FloatArray] = [np.zeros(1)] * len(batch)
    for name, here in groups(batch):
        run = batch.horizon.run_profiles[name]
        full = batch.number("power_max_kw")[here] * float(run.sum())
        step_h[here] = np.divide(batch.number("energy_kwh")[here], full, out=np.zeros(len(here)), where=full > 0)
        shape = np.concatenate([[0.0], np.cumsum(run)])
        for row in here.tolist():
            sums[row] = shape
    first = np.concatenate([[0], np.cumsum([len(each) for each in sums])])
    return step_h, np.asarray(first, dtype=np.intp), np.concatenate(sums)


def _wrong_run(batch: Batch, power_kw: FloatArray) -> BoolArray:
    """Whose power is not the run that begins with its first interval, or that began before the horizon."""
    horizon, most = batch.horizon, batch.number("power_max_kw")
    on, done = begun(batch), is_done(batch)
    draws = power_kw > tolerance(most)[:, None]
    idle, first = ~draws.any(axis=1), draws.argmax(axis=1)
    been = or_else(batch.state.hours_in_state_h, 0.0)
    shape = shapes_kw(batch, np.where(on, -been, horizon.tau_h[first]))
    shape[~on & (idle | done)] = 0.0
    wrong = np.any(np.abs(power_kw - shape) > margin(most)[:, None], axis=1)
    may = may_begin(batch)
    allowed = np.where(idle, may_wait(batch), may[np.arange(len(batch)), first])
    return np.asarray(wrong | ~(on | done | allowed))
