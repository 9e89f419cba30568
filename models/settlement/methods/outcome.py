"""What an evaluator of a family hands back, before the adjustment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.settlement.days import mean_known
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.explained import DayVerdict, LearnedFact, NoBaseline


@dataclass(frozen=True)
class Outcome:
    """``kw``: (S,), None with the reason in ``missing``."""

    kw: FloatArray | None
    days: tuple[DayVerdict, ...] = ()
    missing: NoBaseline | None = None
    learned: tuple[LearnedFact, ...] = ()


def nothing(missing: NoBaseline, days: list[DayVerdict] | None = None) -> Outcome:
    """No baseline, and why."""
    return Outcome(None, tuple(days or ()), missing)


def mean_of_days(case: BaselineCase, rows: NDArray[np.int64], weights: FloatArray) -> FloatArray:
    """Weighted mean of the known readings of the days in ``rows``, (S,)."""
    values = case.values[rows]
    return mean_known(values, np.broadcast_to(weights[:, None], values.shape), 0)
