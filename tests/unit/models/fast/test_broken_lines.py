"""Broken lines: envelope and step against their definitions on dense samples, jumps, gaps and points included."""

import numpy as np
import pytest

from models.dispatch.check.oracles.knots import Knots, lowest
from models.dispatch.fast.pricing.broken_lines import lower_of, stepped, within
from models.intervals import FloatArray


def line_of(dice: np.random.Generator, size: int) -> FloatArray:
    """Pieces on whole numbers, here and there a point, a gap or a jump."""
    edges = np.cumsum(dice.integers(0, 4, 2 * size)).astype(np.float64)
    costs = dice.integers(-6, 6, 2 * size).astype(np.float64)
    found = np.stack([edges[0::2], costs[0::2], edges[1::2], costs[1::2]], axis=1)
    point = found[:, 0] == found[:, 2]
    found[point, 3] = found[point, 1]
    keep = np.append(True, ~(point[1:] & (found[1:, 0] == found[:-1, 2])))
    return np.ascontiguousarray(found[keep])


def value(line: FloatArray, y: float) -> float:
    """The lowest of all pieces that hold y; they meet at whole numbers."""
    best = np.inf
    for y0, c0, y1, c1 in line:
        if y0 - 1e-9 <= y <= y1 + 1e-9:
            best = min(best, c0 if y1 == y0 else c0 + (c1 - c0) * min(max((y - y0) / (y1 - y0), 0.0), 1.0))
    return best


def knots_of(line: FloatArray) -> Knots:
    """The same as the checker has it."""
    x = np.unique(line[:, [0, 2]])
    at = np.array([value(line, y) for y in x])
    right, left = np.full(len(x) - 1, np.inf), np.full(len(x) - 1, np.inf)
    for y0, c0, y1, c1 in line:
        for k in np.flatnonzero((x[:-1] >= y0) & (x[1:] <= y1)):
            right[k], left[k] = (c0 + (c1 - c0) * ((y - y0) / (y1 - y0)) for y in (x[k], x[k + 1]))
    return Knots(x, at, right, left)


def read(function: Knots, y: float) -> float:
    return function.cut(y - 1e-9, y + 1e-9).least()


def same(found: float, expected: float) -> bool:
    return bool(found == expected or abs(found - expected) < 1e-6)


LEVELS = np.arange(-12, 60) / 4


@pytest.mark.parametrize("seed", range(60))
def test_the_lower_of_two_lines_is_the_lower_everywhere(seed: int) -> None:
    dice = np.random.default_rng(seed)
    one, other = line_of(dice, 5), line_of(dice, 6)
    more = float(dice.integers(-3, 3))
    found, checked = lower_of(one, other, more), lowest(knots_of(one), knots_of(other).plus(more)).simpler()
    for y in LEVELS:
        expected = min(value(one, y), value(other, y) + more)
        assert same(value(found, y), expected)
        assert same(read(checked, y), expected)
    assert (found[1:, 0] >= found[:-1, 2] - 1e-9).all()


@pytest.mark.parametrize("seed", range(60))
def test_a_step_is_the_least_over_its_changes(seed: int) -> None:
    dice = np.random.default_rng(seed)
    line = line_of(dice, 5)
    low = float(dice.integers(-3, 3))
    high = low + float(dice.integers(0, 4))
    slope, constant = float(dice.integers(-3, 4)), 0.5
    found = stepped(line, low, high, slope, constant, -2.0, 12.0)
    tilted = knots_of(line).plus(0.0, -slope)
    checked = lowest(tilted.moved(-low), tilted.moved(-high), tilted.spread(-high, -low)).plus(constant, slope)
    checked = checked.cut(-2.0, 12.0).simpler()
    changes = np.arange(low, high + 1e-9, 0.25)  # kinks and ends are whole numbers, and so is the best change's cause
    for y in LEVELS:
        inside = -2 <= y <= 12
        expected = min(value(line, y - x) + slope * x for x in changes) + constant if inside else np.inf
        assert same(value(found, y), expected)
        assert same(read(checked, y), expected)


def test_a_line_is_cut_and_tilted() -> None:
    line = np.array([[0.0, 1.0, 4.0, 3.0], [6.0, 0.0, 6.0, 0.0]])
    found = within(line, 2.0, 10.0, 2.0, 7.0)
    assert found == pytest.approx(np.array([[2.0, 16.0, 4.0, 21.0], [6.0, 22.0, 6.0, 22.0]]))


def test_pieces_of_one_straight_line_become_one() -> None:
    whole = np.array([[0.0, 0.0, 9.0, 4.5]])
    parts = np.array([[float(k), 0.5 * k, k + 1.0, 0.5 * k + 0.5] for k in range(9)])
    nowhere = np.empty((0, 4))
    assert lower_of(parts, nowhere, 0.0) == pytest.approx(whole)
    assert lower_of(nowhere, parts, 1.0) == pytest.approx(np.array([[0.0, 1.0, 9.0, 5.5]]))
    assert len(knots_of(parts).simpler().x) == 2
