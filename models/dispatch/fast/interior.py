r"""An interior method for the master: zones are blocks, tied together by the few rows over the whole city.

    minimise    Σ_z cost_zᵀ θ_z + Σ_n q_n s_n  +  Σ_n (λ's pull towards its centre)
    subject to  Σ_{k in g} θ_k = 1                              for every group g of a zone             (y)
                A_z θ_z + w − s = b_z + k_z (λ_z − c_z)         rows of the zone                        (λ_z)
                Σ_z C_z θ_z + w − s = b + k (λ − c)             rows over the city                      (λ)
                θ, w, s ≥ 0,  so that 0 ≤ λ ≤ q

With k = 0 this is the master's linear program.  With k > 0 its dual is the proximal one: λ stays near c unless columns
say clearly that it should not, which a bundle of few columns cannot.  In both cases the answer is a *central* one, not
a corner: its prices are an average of all that are nearly best, and hardly jump when columns come.

Mehrotra's predictor and corrector; the normal equations are a block per zone (K columns, G groups, R rows: (G + R)²)
and a Schur complement for the C rows over the city.

Source: S. Mehrotra, SIAM J. Optim. 2 (1992) 575; J. Gondzio, P. González-Brevis, P. Munari, Eur. J. Oper. Res. 224
(2013) 41 (central prices in column generation); C. Lemaréchal, A. Nemirovskii, Y. Nesterov, Math. Program. 69 (1995)
111 (bundles and proximal terms).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from threadpoolctl import ThreadpoolController

from models.intervals import FloatArray

MOST = 80
"""Steps at most; 10 to 30 are usual."""
FEASIBLE, NEARLY = 1e-5, 1e-3
"""Largest row residual of an answer, in the rows' own unit; with a proximal term, where only prices matter."""
_SHARE = 0.995
"""Part of the way to the border that a step goes."""
_INSIDE = 1e-3
"""A starting λ keeps so far from 0 and q, as a share of q."""
_RIDGE = 1e-14
"""Relative addition to the diagonal of the normal equations."""
_THREADS = ThreadpoolController()
"""Of the linear algebra: on matrices as small as a zone's, several threads are ten times slower than one."""


@dataclass(frozen=True)
class Block:
    """A zone's columns: ``entries`` (K, G + R + C): one 1 for the column's group, its rows, the rows over the city.

    ``cost``: (K,).  ``groups``: G ≥ 1.  ``limit``, ``penalty``, ``center``, ``stiffness``: (R,) b, q, c and k.
    """

    entries: FloatArray
    cost: FloatArray
    groups: int
    limit: FloatArray
    penalty: FloatArray
    center: FloatArray
    stiffness: FloatArray


@dataclass(frozen=True)
class Rows:
    """The rows over the city, (C,) each, as in ``Block``."""

    limit: FloatArray
    penalty: FloatArray
    center: FloatArray
    stiffness: FloatArray


@dataclass(frozen=True)
class Answer:
    """θ and reduced costs of every block's columns, λ of its rows; λ of the city's rows; bounds; steps.

    ``cost``: of this mix and these slacks (with a proximal term rows give way, so it may be below the optimum);
    ``bound``: the dual's value without the proximal term; ``gap``: how far from optimal the answer is.
    """

    theta: list[FloatArray]
    reduced: list[FloatArray]
    local: list[FloatArray]
    shared: FloatArray
    cost: float
    bound: float
    gap: float
    steps: int


class _Ends:
    """λ ≥ 0 with its room w, and q − λ ≥ 0 with its slack s, of some rows."""

    def __init__(self, rows: Block | Rows, start: FloatArray) -> None:
        self.rows = rows
        self.price = np.clip(start, _INSIDE * rows.penalty, (1 - _INSIDE) * rows.penalty)
        self.below = rows.penalty - self.price  # kept apart: it may be smaller than the rounding of q
        self.room = self.slack = np.empty(0)

    def limit(self) -> FloatArray:
        return np.asarray(self.rows.limit + self.rows.stiffness * (self.price - self.rows.center))

    def begin(self, value: FloatArray, mu: float) -> None:
        free = self.limit() - value
        extra = np.minimum(mu / np.minimum(self.price, self.below), 0.1 * (1 + np.abs(free))) + 1e-6
        self.room, self.slack = np.maximum(free, 0) + extra, np.maximum(-free, 0) + extra

    def missing(self, value: FloatArray) -> FloatArray:
        return np.asarray(self.limit() - value - self.room + self.slack)

    def product(self) -> float:
        return float(self.room @ self.price + self.slack @ self.below)

    def diagonal(self) -> FloatArray:
        return np.asarray(self.room / self.price + self.slack / self.below + self.rows.stiffness)

    def constant(self, target: tuple[FloatArray, FloatArray]) -> FloatArray:
        return np.asarray(target[0] / self.price - target[1] / self.below)

    def targets(self, mu: float, last: "_Step | None") -> tuple[FloatArray, FloatArray]:
        room, slack = mu - self.room * self.price, mu - self.slack * self.below
        if last is not None:
            room, slack = room - last.room * last.price, slack + last.slack * last.price
        return room, slack

    def step(self, change: FloatArray, target: tuple[FloatArray, FloatArray]) -> "_Step":
        """``change``: of λ."""
        room = (target[0] - self.room * change) / self.price
        slack = (target[1] + self.slack * change) / self.below
        return _Step(change, room, slack)

    def move(self, step: "_Step", primal: float, dual: float) -> None:
        self.price = self.price + dual * step.price
        self.below = self.below - dual * step.price
        self.room = self.room + primal * step.room
        self.slack = self.slack + primal * step.slack

    def product_after(self, step: "_Step", primal: float, dual: float) -> float:
        price, below = self.price + dual * step.price, self.below - dual * step.price
        room, slack = self.room + primal * step.room, self.slack + primal * step.slack
        return float(room @ price + slack @ below)

    def lengths(self, step: "_Step") -> tuple[float, float]:
        return (
            min(_length(self.room, step.room), _length(self.slack, step.slack)),
            min(_length(self.price, step.price), _length(self.below, -step.price)),
        )


@dataclass(frozen=True)
class _Step:
    price: FloatArray
    room: FloatArray
    slack: FloatArray


class _Zone:
    """A block's iterate."""

    def __init__(self, block: Block, shared_price: FloatArray, start: FloatArray) -> None:
        self.block = block
        self.ends = _Ends(block, start)
        ones = block.entries[:, : block.groups]
        self.group = np.argmax(ones, axis=1)
        self.theta = ones @ (1 / ones.sum(axis=0))
        reduced = block.cost + block.entries[:, block.groups :] @ np.concatenate([self.ends.price, shared_price])
        least = np.full(block.groups, np.inf)
        np.minimum.at(least, self.group, reduced)
        above = np.bincount(self.group, weights=(reduced - least[self.group]) * self.theta, minlength=block.groups)
        self.y = least - np.maximum(above, 1e-3 * np.abs(least) + 1e-9)
        self.reduced = reduced - self.y[self.group]

    @property
    def size(self) -> int:
        return self.block.groups + len(self.block.limit)

    def evaluate(self, shared_price: FloatArray) -> FloatArray:
        """Rows' values (G + R + C,); sets what is missing."""
        value = self.block.entries.T @ self.theta
        groups = self.block.groups
        self.lacking = np.concatenate([1 - value[:groups], self.ends.missing(value[groups : self.size])])
        prices = np.concatenate([self.y, -self.ends.price, -shared_price])
        self.off = self.block.cost - self.block.entries @ prices - self.reduced
        return np.asarray(value)

    def factor(self) -> FloatArray:
        """Its part of the Schur complement (C, C)."""
        self.ratio = self.theta / self.reduced
        normal = self.block.entries.T @ (self.block.entries * self.ratio[:, None])
        rows = np.arange(self.block.groups, self.size)
        normal[rows, rows] += self.ends.diagonal()
        every = np.arange(self.size)
        normal[every, every] *= 1 + _RIDGE
        self.lower = np.linalg.cholesky(normal[: self.size, : self.size])
        self.across = _forward(self.lower, normal[: self.size, self.size :])
        own = normal[self.size :, self.size :]
        ridge = np.diag(_RIDGE * np.diagonal(own))  # of what it was: the difference may be nothing but rounding
        return np.asarray(own + ridge - self.across.T @ self.across)

    def targets(self, mu: float, last: "_ZoneStep | None") -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        theta = mu - self.theta * self.reduced
        if last is None:
            return theta, self.ends.targets(mu, None)
        return theta - last.theta * last.reduced, self.ends.targets(mu, last.ends)

    def forward(self, target: tuple[FloatArray, tuple[FloatArray, FloatArray]]) -> FloatArray:
        """What it adds to the right side of the Schur complement (C,)."""
        moved = self.block.entries.T @ (target[0] / self.reduced - self.ratio * self.off)
        right = self.lacking - moved[: self.size]
        right[self.block.groups :] -= self.ends.constant(target[1])
        self.half = _forward(self.lower, right)
        return np.asarray(-moved[self.size :] - self.across.T @ self.half)

    def step(self, shared: FloatArray, target: tuple[FloatArray, tuple[FloatArray, FloatArray]]) -> "_ZoneStep":
        """``shared``: change of −λ over the city, (C,)."""
        own = _backward(self.lower, self.half - self.across @ shared)
        reduced = self.off - self.block.entries @ np.concatenate([own, shared])
        theta = (target[0] - self.theta * reduced) / self.reduced
        groups = self.block.groups
        return _ZoneStep(theta, reduced, own[:groups], self.ends.step(-own[groups:], target[1]))

    def lengths(self, step: "_ZoneStep") -> tuple[float, float]:
        primal, dual = self.ends.lengths(step.ends)
        return min(primal, _length(self.theta, step.theta)), min(dual, _length(self.reduced, step.reduced))

    def product(self) -> float:
        return float(self.theta @ self.reduced) + self.ends.product()

    def product_after(self, step: "_ZoneStep", primal: float, dual: float) -> float:
        theta, reduced = self.theta + primal * step.theta, self.reduced + dual * step.reduced
        return float(theta @ reduced) + self.ends.product_after(step.ends, primal, dual)

    def move(self, step: "_ZoneStep", primal: float, dual: float) -> None:
        self.theta = self.theta + primal * step.theta
        self.reduced = self.reduced + dual * step.reduced
        self.y = self.y + dual * step.y
        self.ends.move(step.ends, primal, dual)


@dataclass(frozen=True)
class _ZoneStep:
    theta: FloatArray
    reduced: FloatArray
    y: FloatArray
    ends: _Step


def solve_interior(
    blocks: Sequence[Block],
    rows: Rows,
    start: Sequence[FloatArray],
    shared_start: FloatArray,
    tolerance: float,
    run: Callable[..., Iterator[Any]] = map,
) -> Answer:
    """The program above to a gap of ``tolerance``, from λ ``start`` (R,) by block and ``shared_start`` (C,).

    ``run``: maps a function over the zones, like ``map``; several may be at work at once.  Penalties must be positive.
    Where rounding ends the method early, the answer is the last one it had; ``gap`` tells.
    """
    with _THREADS.limit(limits=1, user_api="blas"):
        return _solve(blocks, rows, start, shared_start, tolerance, run)


def _solve(
    blocks: Sequence[Block],
    rows: Rows,
    start: Sequence[FloatArray],
    shared_start: FloatArray,
    tolerance: float,
    run: Callable[..., Iterator[Any]],
) -> Answer:
    shared = _Ends(rows, shared_start)
    zones = [_Zone(block, shared.price, own) for block, own in zip(blocks, start, strict=True)]
    proximal = bool(rows.stiffness.any()) or any(bool(block.stiffness.any()) for block in blocks)
    count = sum(len(zone.theta) + 2 * len(zone.ends.price) for zone in zones) + 2 * len(shared.price)
    mu = sum(float(zone.theta @ zone.reduced) for zone in zones) / max(1, sum(len(zone.theta) for zone in zones))
    values = [zone.block.entries.T @ zone.theta for zone in zones]
    for zone, value in zip(zones, values, strict=True):
        zone.ends.begin(value[zone.block.groups : zone.size], mu)
    total = sum((value[zone.size :] for zone, value in zip(zones, values, strict=True)), np.zeros(len(rows.limit)))
    shared.begin(total, mu)
    for steps in range(MOST + 1):
        total = np.zeros(len(rows.limit))
        for zone in zones:
            total += zone.evaluate(shared.price)[zone.size :]
        lacking = shared.missing(total)
        gap = shared.product() + sum(zone.product() for zone in zones)
        worst = max([np.abs(lacking).max(initial=0.0), *(np.abs(zone.lacking).max() for zone in zones)])
        if (gap <= tolerance and worst <= (NEARLY if proximal else FEASIBLE)) or steps == MOST or gap <= 1e-13:
            break
        try:
            step = _newton(zones, shared, lacking, gap, count, run)
        except np.linalg.LinAlgError:  # what is left is rounding
            break
        primal, dual = _lengths(zones, shared, *step)
        primal, dual = _SHARE * primal, _SHARE * dual
        if proximal:  # λ is in the primal rows: one length for both
            primal = dual = min(primal, dual)
        for zone, own in zip(zones, step[0], strict=True):
            zone.move(own, primal, dual)
        shared.move(step[1], primal, dual)
    return Answer(
        theta=[zone.theta for zone in zones],
        reduced=[zone.reduced for zone in zones],
        local=[zone.ends.price for zone in zones],
        shared=shared.price,
        cost=float(rows.penalty @ shared.slack)
        + sum(float(zone.block.cost @ zone.theta + zone.block.penalty @ zone.ends.slack) for zone in zones),
        bound=sum(float(zone.y.sum() - zone.ends.price @ zone.block.limit) for zone in zones)
        - float(shared.price @ rows.limit),
        gap=gap,
        steps=steps,
    )


def _newton(
    zones: Sequence[_Zone],
    shared: _Ends,
    lacking: FloatArray,
    gap: float,
    count: int,
    run: Callable[..., Iterator[Any]],
) -> tuple[list[_ZoneStep], _Step]:
    """Predictor, then corrector."""
    normal = np.diag(shared.diagonal())
    for part in run(_Zone.factor, zones):
        normal += part
    every = np.arange(len(normal))
    normal[every, every] *= 1 + _RIDGE
    lower = np.asarray(np.linalg.cholesky(normal))

    def towards(mu: float, last: tuple[list[_ZoneStep], _Step] | None) -> tuple[list[_ZoneStep], _Step]:
        targets = [zone.targets(mu, None if last is None else last[0][z]) for z, zone in enumerate(zones)]
        target = shared.targets(mu, None if last is None else last[1])
        right = lacking - shared.constant(target)
        for zone, own in zip(zones, targets, strict=True):
            right = right + zone.forward(own)
        change = _backward(lower, _forward(lower, right)) if len(right) else right
        steps = [zone.step(change, own) for zone, own in zip(zones, targets, strict=True)]
        return steps, shared.step(-change, target)

    first = towards(0.0, None)
    primal, dual = _lengths(zones, shared, *first)
    after = shared.product_after(first[1], primal, dual)
    after += sum(zone.product_after(own, primal, dual) for zone, own in zip(zones, first[0], strict=True))
    return towards(max(0.0, after / gap) ** 3 * gap / count, first)


def _lengths(
    zones: Sequence[_Zone], shared: _Ends, steps: Sequence[_ZoneStep], shared_step: _Step
) -> tuple[float, float]:
    found = [shared.lengths(shared_step), *(zone.lengths(own) for zone, own in zip(zones, steps, strict=True))]
    return min(1.0, *(primal for primal, _ in found)), min(1.0, *(dual for _, dual in found))


def _length(x: FloatArray, change: FloatArray) -> float:
    """How far x may go before it is 0."""
    falling = change < 0
    return float(np.min(-x[falling] / change[falling], initial=np.inf))


def _forward(lower: FloatArray, right: FloatArray) -> FloatArray:
    return np.asarray(solve_triangular(lower, right, lower=True, check_finite=False))


def _backward(lower: FloatArray, right: FloatArray) -> FloatArray:
    return np.asarray(solve_triangular(lower.T, right, lower=False, check_finite=False))
