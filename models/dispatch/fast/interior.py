r"""An interior method for the master: zones are blocks, tied together by the few rows over the whole city.

    minimise    Σ_z cost_zᵀ θ_z + Σ_n q_n s_n  +  Σ_n (λ's pull towards its centre)
    subject to  Σ_{k in g} θ_k = 1                              for every group g of a zone             (y)
                A_z θ_z + w − s = b_z + k_z (λ_z − c_z)         rows of the zone                        (λ_z)
                Σ_z C_z θ_z + w − s = b + k (λ − c)             rows over the city                      (λ)
                θ, w, s ≥ 0,  so that 0 ≤ λ ≤ q

With k = 0 this is the master's linear program.  With k > 0 its dual is the proximal one: λ stays near c unless columns
say clearly that it should not, which a bundle of few columns cannot.  In both cases the answer is a *central* one, not
a corner: its prices are an average of all that are nearly best, and hardly jump when columns come.

Mehrotra's predictor and corrector.  Of the normal equations a zone's groups go first: what is left of its K columns is
how they differ from their group's weighted mean, a block (R²) of its R rows, and a Schur complement for the C rows
over the city.

Source: S. Mehrotra, SIAM J. Optim. 2 (1992) 575; J. Gondzio, P. González-Brevis, P. Munari, Eur. J. Oper. Res. 224
(2013) 41 (central prices in column generation); C. Lemaréchal, A. Nemirovskii, Y. Nesterov, Math. Program. 69 (1995)
111 (bundles and proximal terms).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve

from models.dispatch.fast import interior_zone as kernel
from models.dispatch.fast.setting import IndexArray
from models.dispatch.one_thread import one_thread
from models.intervals import FloatArray

MOST = 80
"""Steps at most; 10 to 30 are usual."""
FEASIBLE, NEARLY = 1e-5, 1e-3
"""Largest row residual of an answer, in the rows' own unit; with a proximal term, where only prices matter."""
_SHARE = 0.995
"""Part of the way to the border that a step goes."""
_INSIDE = 1e-3
"""A starting λ keeps so far from 0 and q, as a share of q."""
_PIECES = 4
"""Pieces in which zones are worked on side by side."""


@dataclass(frozen=True)
class Block:
    """A zone's columns: ``entries`` (K, R + C): the zone's rows, the rows over the city.

    ``group``: (K,) rising from 0, every group at least once.  ``cost``: (K,).  ``limit``, ``penalty``, ``center``,
    ``stiffness``: (R,) b, q, c and k.
    """

    entries: FloatArray
    cost: FloatArray
    group: IndexArray
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


def _ends(rows: Block | Rows, start: FloatArray) -> kernel.Ends:
    price = np.clip(start, _INSIDE * rows.penalty, (1 - _INSIDE) * rows.penalty)
    limit, center, stiffness = (np.ascontiguousarray(each) for each in (rows.limit, rows.center, rows.stiffness))
    work = np.zeros((7, len(price)))
    return kernel.Ends(limit, center, stiffness, price, rows.penalty - price, *work)


def _zone(block: Block, shared_price: FloatArray, start: FloatArray) -> kernel.Zone:
    ends, group = _ends(block, start), block.group
    entries = np.ascontiguousarray(block.entries)
    columns, width = entries.shape
    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    groups, rows = len(firsts), len(ends.price)
    theta = 1.0 / np.bincount(group)[group]
    reduced = block.cost + entries @ np.concatenate([ends.price, shared_price])
    least = np.minimum.reduceat(reduced, firsts)
    above = np.add.reduceat((reduced - least[group]) * theta, firsts)
    y = least - np.maximum(above, 1e-3 * np.abs(least) + 1e-9)
    return kernel.Zone(
        entries=entries,
        cost=np.ascontiguousarray(block.cost),
        firsts=np.append(firsts, columns),
        ends=ends,
        theta=theta,
        reduced=reduced - y[group],
        y=y,
        short=np.zeros(groups),
        lacking=np.zeros(rows),
        off=np.zeros(columns),
        ratio=np.zeros(columns),
        weight=np.zeros(groups),
        mean=np.zeros((groups, width)),
        apart=np.zeros((columns, width)),
        normal=np.zeros((width, width)),
        grouped=np.zeros(groups),
        half=np.zeros(rows),
        d_theta=np.zeros(columns),
        d_reduced=np.zeros(columns),
        d_y=np.zeros(groups),
        t_theta=np.zeros(columns),
    )


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
    with one_thread():
        return _solve(blocks, rows, start, shared_start, tolerance, run)


def _solve(
    blocks: Sequence[Block],
    rows: Rows,
    start: Sequence[FloatArray],
    shared_start: FloatArray,
    tolerance: float,
    run: Callable[..., Iterator[Any]],
) -> Answer:
    city = _City(blocks, rows, start, shared_start, run)
    proximal = bool(rows.stiffness.any()) or any(bool(block.stiffness.any()) for block in blocks)
    for steps in range(MOST + 1):
        gap, worst = city.evaluate()
        if (gap <= tolerance and worst <= (NEARLY if proximal else FEASIBLE)) or steps == MOST or gap <= 1e-13:
            break
        found = city.newton(gap)
        if found is None:  # what is left is rounding
            break
        primal, dual = _SHARE * found[0], _SHARE * found[1]
        if proximal:  # λ is in the primal rows: one length for both
            primal = dual = min(primal, dual)
        city.go(primal, dual)
    zones, shared = city.zones, city.shared
    return Answer(
        theta=[zone.theta for zone in zones],
        reduced=[zone.reduced for zone in zones],
        local=[zone.ends.price for zone in zones],
        shared=shared.price,
        cost=float(rows.penalty @ shared.slack)
        + sum(
            float(block.cost @ zone.theta + block.penalty @ zone.ends.slack)
            for block, zone in zip(blocks, zones, strict=True)
        ),
        bound=sum(
            float(zone.y.sum() - zone.ends.price @ block.limit) for block, zone in zip(blocks, zones, strict=True)
        )
        - float(shared.price @ rows.limit),
        gap=gap,
        steps=steps,
    )


class _City:
    """The iterate: zones, and the rows over the city."""

    def __init__(
        self,
        blocks: Sequence[Block],
        rows: Rows,
        start: Sequence[FloatArray],
        shared_start: FloatArray,
        run: Callable[..., Iterator[Any]],
    ) -> None:
        self.shared, self._run = _ends(rows, shared_start), run
        self.zones = [_zone(block, self.shared.price, own) for block, own in zip(blocks, start, strict=True)]
        zones, self._width = self.zones, len(rows.limit)
        self._count = sum(len(zone.theta) + 2 * len(zone.ends.price) for zone in zones) + 2 * self._width
        mu = sum(float(zone.theta @ zone.reduced) for zone in zones) / max(1, sum(len(zone.theta) for zone in zones))
        total = np.zeros(self._width)
        for zone in zones:
            value = zone.theta @ zone.entries
            kernel.begin(zone.ends, value, mu)
            total += value[len(zone.ends.price) :]
        kernel.begin(self.shared, total, mu)
        self._lacking = np.empty(self._width)
        turns = np.arange(len(zones)) % _PIECES
        self._pieces = [[zones[z] for z in np.flatnonzero(turns == turn)] for turn in range(min(_PIECES, len(zones)))]

    def _each(self, work: Callable[[kernel.Zone], Any]) -> list[Any]:
        """``work`` on every zone, several side by side; the answers in no order."""
        return [
            found for part in self._run(lambda piece: [work(zone) for zone in piece], self._pieces) for found in part
        ]

    def evaluate(self) -> tuple[float, float]:
        """The sum of the products, and the largest residual."""

        def ask(zone: kernel.Zone) -> tuple[FloatArray, tuple[float, float]]:
            value = np.empty(zone.entries.shape[1])
            found = kernel.evaluate(zone, self.shared.price, value)
            return value[len(zone.ends.price) :], found

        total, gap, worst = np.zeros(self._width), kernel.product_after(self.shared, 0.0, 0.0), 0.0
        for value, (residual, product) in self._each(ask):
            total += value
            gap, worst = gap + product, max(worst, residual)
        return gap, max(worst, kernel.missing(self.shared, total, self._lacking))

    def newton(self, gap: float) -> tuple[float, float] | None:
        """Predictor, then corrector: how far primal and dual may go; None if the equations cannot be solved."""
        width = self._width

        def factored(zone: kernel.Zone) -> FloatArray | None:
            schur = np.empty((width, width))
            return schur if kernel.factor(zone, schur) else None

        normal = np.diag([kernel.diagonal(self.shared, n) for n in range(width)]).reshape(width, width)
        for part in self._each(factored):
            if part is None:
                return None
            normal += part
        every = np.arange(width)
        normal[every, every] *= 1 + kernel.RIDGE
        try:
            lower = np.asarray(np.linalg.cholesky(normal)) if width else normal
        except np.linalg.LinAlgError:
            return None
        primal, dual = self._towards(lower, 0.0, corrected=False)
        after = kernel.product_after(self.shared, primal, dual)
        after += sum(kernel.zone_after(zone, primal, dual) for zone in self.zones)
        return self._towards(lower, max(0.0, after / gap) ** 3 * gap / self._count, corrected=True)

    def _towards(self, lower: FloatArray, mu: float, *, corrected: bool) -> tuple[float, float]:
        """The step towards products of ``mu``; how far primal and dual may go."""
        width, shared = self._width, self.shared

        def forward(zone: kernel.Zone) -> FloatArray:
            right = np.empty(width)
            kernel.forward(zone, mu, corrected, right)
            return right

        kernel.aim(shared, mu, corrected)
        right = self._lacking - np.array([kernel.aimed(shared, n) for n in range(width)])
        for part in self._each(forward):
            right += part
        change = cho_solve((lower, True), right, check_finite=False) if width else right
        shared.d_price[:] = -change
        found = [kernel.follow(shared), *self._each(lambda zone: kernel.step(zone, change))]
        primal, dual = (1.0 / max(1.0, *(each[k] for each in found)) for k in range(2))
        return primal, dual

    def go(self, primal: float, dual: float) -> None:
        """Go these lengths."""
        kernel.move(self.shared, primal, dual)
        for zone in self.zones:
            kernel.go(zone, primal, dual)


def warm_up() -> None:
    """Compile the steps of a zone, or load what is compiled."""
    nothing, one = np.empty(0), np.ones(1)
    block = Block(np.ones((1, 1)), one, np.zeros(1, dtype=np.int64), one, one, one, one)
    solve_interior([block], Rows(nothing, nothing, nothing, nothing), [one], nothing, 1e-3)
