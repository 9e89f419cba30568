r"""The verdict: what a resource has been tested for in a direction, at a confidence-discounted value.

    (Z1)  v_i = min(held_i, D)                      of the tests that count                              [kW]
    (Z2)  L = v̄ - t_{n-1,γ} s √(1 + 1/n)            n ≥ 2;  one test: L = v₁                              [kW]
    (Z3)  kw = min(L, v_newest), not below 0                                                             [kW]
    (Z4)  holds = min_i holds_i                                                                          [s]
    (Z5)  expires = end of the newest test that counts + validity

======  =============  ====  ========================================================================
symbol  name here      unit  meaning
======  =============  ====  ========================================================================
D       ordered_kw     kW    the largest order of the newest test
v̄, s    mean_kw,       kW    mean and standard deviation of the n values (divisor n - 1)
        spread_kw
t       factor         -     quantile of Student's t with n - 1 degrees of freedom; with the root
γ       confidence     -     how surely the next call gives at least L, if tests are draws of one kind
======  =============  ====  ========================================================================

(Z2) is the lower prediction bound of the *next* call, not of the mean: a bid is about the next call.  It assumes that
tests scatter normally about one level; a resource that gets worse does not, so (Z3) never says more than the newest
test has shown.

Counted are tests that are not void, have a figure in the direction, and ended no more than ``memory_days`` before the
newest of them.  One that ordered less than D and held that (``held_share`` of it) is left out: it cannot tell what more
would have given.  One that was asked for more and held less counts, or a resource would lose a bad test by declaring
more.

Source: domain notes 2.2, "re-assess periodically, keep history; bid at a confidence-discounted value"; all numbers [D].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import stdtrit

from models.canonical import sha256_of
from models.capability.assessment import AssessedTest
from models.capability.explained import Missing
from models.capability.history import History
from models.events import Direction

Days = Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)]


class VerdictRules(BaseModel):
    """How a history becomes a figure; the source gives no number, all defaults are ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    validity_days: Days = 365
    memory_days: Days = 1095
    held_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    source: str = "domain notes 2.2 [S15 2nd]: periodically, with history, discounted; numbers [D]"
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """(Z2) and what it is made of; ``factor`` is t √(1 + 1/n), 0 for one value."""

    kw: float
    mean_kw: float
    spread_kw: float
    factor: float


@dataclass(frozen=True, slots=True)
class CapacityVerdict:
    """The tested figure of one direction, or ``missing``; ``inputs_sha256``: of history, direction and rules.

    ``used``: fingerprints of the tests that count, oldest first.
    """

    resource_id: str
    direction: Direction
    inputs_sha256: str
    missing: Missing | None = None
    kw: float | None = None
    holds_s: float | None = None
    ordered_kw: float | None = None
    bound: Bound | None = None
    used: tuple[str, ...] = ()
    tested_at: datetime | None = None
    expires_at: datetime | None = None

    def is_in_force(self, moment: datetime) -> bool:
        """True from the end of the newest test until the figure expires."""
        return self.tested_at is not None and self.expires_at is not None and self.tested_at <= moment < self.expires_at


def lower_bound(values: Sequence[float], confidence: float) -> Bound:
    """(Z2), of one value or more."""
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Bound(values[0], mean, 0.0, 0.0)
    spread = float(np.std(np.asarray(values), ddof=1))
    factor = float(stdtrit(n - 1, confidence)) * math.sqrt(1 + 1 / n)
    return Bound(mean - factor * spread, mean, spread, factor)


def verdict(history: History, direction: Direction, rules: VerdictRules | None = None) -> CapacityVerdict:
    """The tested figure of one direction after all tests of a history."""
    chosen = VerdictRules() if rules is None else rules
    inputs = {"history": history.sha256, "direction": direction.value, "rules": chosen.model_dump(mode="json")}
    digest = sha256_of(inputs)
    told = sorted((test for test in history.tests if test.held(direction).kw is not None), key=lambda test: test.end_us)
    if not told:
        return CapacityVerdict(history.resource_id, direction, digest, missing=Missing.NEVER_TESTED)
    newest = told[-1]
    ordered = newest.held(direction).ordered_kw
    counted = [test for test in told if _counts(test, newest, direction, chosen)]
    held = [test.held(direction) for test in counted]
    values = [min(each.kw, ordered) for each in held if each.kw is not None]
    bound = lower_bound(values, chosen.confidence)
    return CapacityVerdict(
        resource_id=history.resource_id,
        direction=direction,
        inputs_sha256=digest,
        kw=max(0.0, min(bound.kw, values[-1])),
        holds_s=min(each.holds_s for each in held if each.holds_s is not None),
        ordered_kw=ordered,
        bound=bound,
        used=tuple(test.inputs_sha256 for test in counted),
        tested_at=newest.ended_at,
        expires_at=newest.ended_at + timedelta(days=chosen.validity_days),
    )


def verdicts(history: History, rules: VerdictRules | None = None) -> dict[Direction, CapacityVerdict]:
    """Both directions: up is ``shave``, down is ``fill``."""
    return {direction: verdict(history, direction, rules) for direction in Direction}


def _counts(test: AssessedTest, newest: AssessedTest, direction: Direction, rules: VerdictRules) -> bool:
    held, ordered = test.held(direction), newest.held(direction).ordered_kw
    is_remembered = newest.ended_at - test.ended_at <= timedelta(days=rules.memory_days)
    was_asked_enough = held.ordered_kw >= ordered
    gave_way = held.kw is not None and held.kw < rules.held_share * held.ordered_kw
    return is_remembered and (was_asked_enough or gave_way)
