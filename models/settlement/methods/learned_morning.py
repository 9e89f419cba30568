r"""A method of our own: like days, and as much of the morning's surplus as used to stay until the event's hours.

    (T1)  b_t = b⁰_t + x₁ + Σ_j β_{j,t} x_j                     in the event's hours, outside of them b⁰_t + x₁   [kW]
    (T2)  x₁ = mean_w(L - b⁰),  x₂ = (L - b⁰)_{last of w} - (L - b⁰)_{first of w}      level and trend           [kW]
    (T3)  β_t = argmin Σ_d (L_{d,t} - b⁰_{d,t} - x_{d,1} - Σ_j β_j x_{d,j})² + λ Σ_j β_j² s_j²,  s_j² = mean_d x_{d,j}²

======  =============  ====  ==================================================================================
symbol  name here      unit  meaning
======  =============  ====  ==================================================================================
b⁰      day matching   kW    mean of the picked like days before the day in question, for past days as for today
w       morning        -     window before the event
x       signals        kW    what the day shows in w against its like days
β       carried        -     how the event's hours part from "all of the surplus stays"; -1: none of it stays
λ       ridge_days     -     weight of the prior β = 0: with n days of the past one signal counts n/(n+λ) of its fit
======  =============  ====  ==================================================================================

β = 0 is the additive adjustment: all of the morning's surplus stays.  A site where it usually fades gets a β below 0,
one where it grows (a heat wave) one above.  Only days before the event day teach, and no event days.

How its numbers were chosen: on the benchmark's meters, but on days that are not scored.  Per site the days ranked 11 to
20 and 21 to 30 by their mean in the event's hours were events, and all days at least as hot were taken out of the
history, so that, as in the score, nothing so hot had been seen.  Of 130 settings (ten day choices; level, trend, both
or none; λ of 4 to 32) those within half a point of the best median CVRMSE were kept, and of these the one of least
median bias was taken.  The trend did not earn its place beside the level.  A row with the trend alone
(``learned_trend``) is taken over from an earlier exploration: it has less bias and errs more.  ``vpp bench baselines``
scores both; ``--unscored`` shows the days that ``learned_morning`` was chosen on.
"""

from collections.abc import Iterator

import numpy as np

from models.intervals import FloatArray
from models.settlement.days import mean_known
from models.settlement.methods.case import BaselineCase, BoolArray, means
from models.settlement.methods.choose import Rows, choose_days, count_for, like_days
from models.settlement.methods.explained import LearnedFact, NoBaseline
from models.settlement.methods.outcome import Outcome, mean_of_days, nothing
from models.settlement.methods.spec import DayCount, DayRule, LearnedMorning


def learned_morning(case: BaselineCase, rule: LearnedMorning) -> Outcome:
    """(T1); without readings of the morning there is no baseline, without enough days to learn from β is 0."""
    verdicts, rows, weights = choose_days(case, rule.days)
    if not len(rows):
        return nothing(NoBaseline.TOO_FEW_DAYS, verdicts)
    base_kw = mean_of_days(case, rows, weights)
    morning = case.window(rule.morning)
    surplus = case.day_kw - base_kw
    if not morning.any() or not np.isfinite(surplus[morning]).all():
        return nothing(NoBaseline.NO_READINGS, verdicts)
    today = signals(surplus[None, :], morning)
    past = list(_past(case, rule, morning))
    wanted = [("level", "trend").index(name) for name in rule.signals]
    carried = np.zeros((len(wanted), int(case.event.sum())))
    if len(past) >= rule.minimum_learning_days:
        before = np.array(past)
        x = signals(before, morning)
        rest = before[:, case.event] - x[:, :1]
        carried = ridge(x[:, wanted], rest, rule.ridge_days)
    kw = base_kw + today[0, 0]
    moved = carried * today[0, wanted][:, None]
    kw[case.event] += moved.sum(axis=0)
    learned = tuple(
        LearnedFact(name, float(today[0, column]), float(moved[k].mean()), len(past))
        for k, (name, column) in enumerate(zip(rule.signals, wanted, strict=True))
    )
    return Outcome(kw, tuple(verdicts), learned=learned)


def signals(surplus_kw: FloatArray, morning: BoolArray) -> FloatArray:
    """(T2), (D, 2): level and trend of each day's morning; ``surplus_kw``: (D, S)."""
    shown = surplus_kw[:, morning]
    return np.stack([shown.mean(axis=1), shown[:, -1] - shown[:, 0]], axis=1)


def ridge(x: FloatArray, y: FloatArray, ridge_days: float) -> FloatArray:
    """(T3), (J, E), for x (D, J) and y (D, E); a signal that never moved carries nothing."""
    size = np.sqrt((x**2).mean(axis=0))
    size = np.where(size > 0, size, 1.0)
    scaled = x / size
    inner = scaled.T @ scaled + ridge_days * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(inner, scaled.T @ y) / size[:, None])


def _past(case: BaselineCase, rule: LearnedMorning, morning: BoolArray) -> Iterator[FloatArray]:
    """L - b⁰, (S,), of every earlier like day that has a base of its own and is known where it matters."""
    _, rows = like_days(case, rule.learning_look_back_days, kinds=rule.days.day_kinds)
    use = means(case.values, case.event)
    count = count_for(case, rule.days)
    back = np.array([(case.day - case.history.days[row]).days for row in rows])
    for place in range(count.minimum, len(rows)):
        ago = back[:place] - back[place]
        earlier = rows[:place][(ago <= rule.days.look_back_days) & (ago > rule.days.skip_days)][-count.of :]
        if len(earlier) < count.minimum:
            continue
        values = case.values[_picked(use, earlier, rule.days, count)]
        surplus = case.values[rows[place]] - mean_known(values, np.ones_like(values), 0)
        if np.isfinite(surplus[morning | case.event]).all():
            yield surplus


def _picked(use: FloatArray, rows: Rows, rule: DayRule, count: DayCount) -> Rows:
    """The days that (T1) would have picked for an earlier day; low use and outliers were not looked for."""
    ranked = rows[np.argsort(-np.where(np.isfinite(use[rows]), use[rows], -np.inf), kind="stable")]
    above = max(len(rows) - count.take, 0) // 2 if rule.pick == "mid" else 0
    return ranked[above : above + (len(rows) if rule.pick == "all" else count.take)]
