"""Random block-angular programs for the master's interior method, and their optima by other means."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np

from models.dispatch.fast.interior import Answer, Block, Rows, solve_interior
from models.intervals import FloatArray


@dataclass(frozen=True)
class Program:
    """Blocks, the rows over all of them, and a λ for each to start from."""

    blocks: tuple[Block, ...]
    rows: Rows
    start: tuple[FloatArray, ...]
    shared_start: FloatArray

    def solved(self, tolerance: float = 1e-7) -> Answer:
        """What the interior method says."""
        return solve_interior(self.blocks, self.rows, self.start, self.shared_start, tolerance)

    def with_stiffness(self, stiffness: float) -> "Program":
        """The same, every row giving way by so much for each unit that its λ is off the centre."""
        blocks = tuple(replace(block, stiffness=np.full(len(block.limit), stiffness)) for block in self.blocks)
        return replace(self, blocks=blocks, rows=replace(self.rows, stiffness=np.full(len(self.rows.limit), stiffness)))

    def from_everywhere(self, part: float) -> "Program":
        """The same, from λ at this part of all penalties."""
        start = tuple(part * block.penalty for block in self.blocks)
        return replace(self, start=start, shared_start=part * self.rows.penalty)

    @property
    def scale(self) -> float:
        """The size of its costs and penalties."""
        costs = sum(float(np.abs(block.cost).sum() + block.penalty.sum()) for block in self.blocks)
        return 1 + costs + float(self.rows.penalty.sum())

    def prices(self, answer: Answer) -> list[tuple[Block | Rows, FloatArray]]:
        """Rows of a zone or of the city, with their λ."""
        return [*zip(self.blocks, answer.local, strict=True), (self.rows, answer.shared)]


def program(
    seed: int,
    *,
    zones: int = 3,
    groups: int = 4,
    columns: int = 5,
    local: int = 4,
    shared: int = 3,
    penalty: tuple[float, float] = (0.3, 30.0),
    tightness: float = 0.3,
) -> Program:
    """A random program, stiffness 0: ``zones`` blocks of 1 to ``groups`` groups of 1 to ``columns`` columns each.

    ``local`` and ``shared``: rows at most of a zone, and exactly of the city.  ``penalty``: between these, evenly on a
    logarithmic scale.  ``tightness``: what part of what its columns do on average a limit forbids; above 1, often none
    of their mixes keeps it.
    """
    dice = np.random.default_rng(seed)
    blocks, start = [], []
    total = np.zeros(shared)
    for _ in range(zones):
        sizes = dice.integers(1, columns + 1, dice.integers(1, groups + 1))
        group = np.repeat(np.arange(len(sizes)), sizes)
        rows = int(dice.integers(0, local + 1))
        ones = (group[:, None] == np.arange(len(sizes))).astype(float)
        values = dice.normal(0.5, 1, (len(group), rows + shared)) * (dice.random((len(group), rows + shared)) < 0.7)
        even = (ones / ones.sum(axis=0)).sum(axis=1) @ values
        total += even[rows:]
        limit = even[:rows] - tightness * np.abs(even[:rows]) + dice.normal(0, 0.1, rows)
        blocks.append(Block(values, dice.normal(0, 1, len(group)), group, *_ends(limit, penalty, dice)))
        start.append(dice.random(rows) * blocks[-1].penalty)
    limit = total - tightness * np.abs(total) + dice.normal(0, 0.1, shared)
    ends = Rows(*_ends(limit, penalty, dice))
    return Program(tuple(blocks), ends, tuple(start), dice.random(shared) * ends.penalty)


def _ends(
    limit: FloatArray, penalty: tuple[float, float], dice: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    count = len(limit)
    dear = np.exp(dice.uniform(np.log(penalty[0]), np.log(penalty[1]), count))
    return limit, dear, dice.random(count) * dear, np.zeros(count)


def groups_of(block: Block) -> int:
    """How many groups a block's columns are in."""
    return int(block.group[-1]) + 1


# ---- optima by other means


def linear_optimum(of: Program) -> float:
    """The optimum without the proximal term, by HiGHS's simplex method."""
    lp = highspy.HighsLp()
    shared, columns, cost = len(of.rows.limit), 0, []
    triples: list[tuple[int, int, float]] = []
    row, lower, upper = shared, [-np.inf] * shared, list(of.rows.limit)
    for block in of.blocks:
        groups, rows = groups_of(block), len(block.limit)
        place = [*range(row + groups, row + groups + rows), *range(shared)]
        for entries, group, price in zip(block.entries, block.group, block.cost, strict=True):
            triples.append((columns, row + int(group), 1.0))
            triples += [(columns, r, value) for r, value in zip(place, entries, strict=True)]
            cost.append(price)
            columns += 1
        for n in range(rows):
            triples.append((columns, row + groups + n, -1.0))
            cost.append(block.penalty[n])
            columns += 1
        lower += [1.0] * groups + [-np.inf] * rows
        upper += [1.0] * groups + list(block.limit)
        row += groups + rows
    for n in range(shared):
        triples.append((columns, n, -1.0))
        cost.append(of.rows.penalty[n])
        columns += 1
    lp.num_col_, lp.num_row_ = columns, row
    lp.col_cost_, lp.col_lower_ = np.array(cost), np.zeros(columns)
    lp.col_upper_ = np.full(columns, highspy.kHighsInf)
    lp.row_lower_, lp.row_upper_ = np.array(lower), np.array(upper)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    owner = [column for column, _, _ in triples]
    lp.a_matrix_.start_ = np.searchsorted(owner, np.arange(columns + 1)).astype(np.int32)
    lp.a_matrix_.index_ = np.array([r for _, r, _ in triples], dtype=np.int32)
    lp.a_matrix_.value_ = np.array([value for _, _, value in triples])
    highs: Any = highspy.Highs()
    for option, value in (("output_flag", False), ("threads", 1), ("solver", "simplex")):
        highs.setOptionValue(option, value)
    for option in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
        highs.setOptionValue(option, 1e-10)
    highs.passModel(lp)
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


def value_of(of: Program, theta: Sequence[FloatArray]) -> float:
    """What a mix costs with its slacks and proximal terms; each group's θ is scaled to a sum of 1.

    A row's part is the largest λ r − k/2 (λ − c)² over 0 ≤ λ ≤ q, where r is by how much it is beyond its limit: the
    slack's q r⁺ if k = 0.
    """
    total, found = -of.rows.limit, 0.0
    for block, weights in zip(of.blocks, theta, strict=True):
        positive = np.maximum(weights, 0)
        share = positive / np.bincount(block.group, weights=positive)[block.group]
        values = block.entries.T @ share
        found += float(block.cost @ share) + _beyond(block, values[: len(block.limit)] - block.limit)
        total = total + values[len(block.limit) :]
    return found + _beyond(of.rows, total)


def _beyond(ends: Block | Rows, r: FloatArray) -> float:
    k = ends.stiffness
    price = np.where(r > 0, ends.penalty, 0.0)
    price = np.where(k > 0, np.clip(ends.center + r / np.where(k > 0, k, 1), 0, ends.penalty), price)
    return float((price * r - k / 2 * (price - ends.center) ** 2).sum())


def promise_of(of: Program, local: Sequence[FloatArray], shared: FloatArray) -> float:
    """A lower bound of every mix's ``value_of``, by the rows' λ (0 ≤ λ ≤ q): every group's cheapest column at them."""
    found = _pull(of.rows, shared)
    for block, own in zip(of.blocks, local, strict=True):
        reduced = block.cost + block.entries @ np.concatenate([own, shared])
        found += _pull(block, own)
        found += sum(float(reduced[block.group == g].min()) for g in range(groups_of(block)))
    return found


def _pull(ends: Block | Rows, price: FloatArray) -> float:
    return float(-price @ ends.limit - ends.stiffness / 2 @ (price - ends.center) ** 2)
