"""The master's interior method against HiGHS, against its own optimality conditions, and at its edges.

A mix's true value and the promise of its prices (``program_cases``) are computed apart from the method.  For every mix
and all prices promise ≤ optimum ≤ value, so where the two meet, both are optimal.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.fast.interior import MOST, Answer, Block, Rows
from tests.unit.models.fast.program_cases import Program, linear_optimum, program, promise_of, value_of

SEEDS = st.integers(0, 100_000)
STIFFNESS = st.sampled_from([1e-6, 1e-3, 0.03, 1.0, 30.0, 1e3])
few = settings(max_examples=30, deadline=None)
TOLERANCE = 1e-7
RESIDUAL = 5e-6
"""What rounding in the normal equations may leave in sums of θ and in rows."""


def is_answered(of: Program) -> Answer:
    """The answer, after what holds for every answer is checked: it is a mix, at prices in bounds, and optimal."""
    answer = of.solved(TOLERANCE)
    assert answer.gap <= TOLERANCE
    assert answer.steps < MOST
    for block, theta, reduced in zip(of.blocks, answer.theta, answer.reduced, strict=True):
        assert (theta > 0).all()
        assert (reduced > 0).all()
        assert np.bincount(block.group, weights=theta) == pytest.approx(1, abs=RESIDUAL)
    for rows, price in of.prices(answer):
        assert (price >= 0).all()
        assert (price <= rows.penalty).all()
    value, promise = value_of(of, answer.theta), promise_of(of, answer.local, answer.shared)
    assert promise <= value + 1e-9 * of.scale
    assert value - promise <= TOLERANCE + RESIDUAL * of.scale
    return answer


def is_linear_optimum(of: Program) -> Answer:
    """The same, and bound ≤ optimum of HiGHS ≤ cost, all three within the tolerance."""
    answer, optimum = is_answered(of), linear_optimum(of)
    off = TOLERANCE + RESIDUAL * of.scale
    assert value_of(of, answer.theta) == pytest.approx(optimum, abs=off)
    assert optimum - off <= answer.bound <= optimum + off
    assert optimum - off <= answer.cost <= optimum + off
    return answer


# ---- the linear program


@few
@given(seed=SEEDS, tightness=st.sampled_from([0.0, 0.3, 2.0]))
def test_it_finds_the_optimum_of_a_linear_program(seed: int, tightness: float) -> None:
    is_linear_optimum(program(seed, tightness=tightness))


@few
@given(seed=SEEDS, start=st.sampled_from([0.0, 0.5, 1.0]))
def test_it_finds_the_optimum_from_anywhere(seed: int, start: float) -> None:
    is_linear_optimum(program(seed).from_everywhere(start))


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_it_finds_the_optimum_of_a_larger_one(seed: int) -> None:
    is_linear_optimum(program(seed, zones=6, groups=12, columns=8, local=20, shared=12))


@few
@given(seed=SEEDS)
def test_a_loose_tolerance_is_kept_too(seed: int) -> None:
    of = program(seed)
    answer, optimum = of.solved(0.1), linear_optimum(of)
    assert answer.gap <= 0.1
    assert optimum - 1e-6 * of.scale <= value_of(of, answer.theta) <= optimum + 0.1 + 1e-6 * of.scale
    assert optimum - 0.1 - 1e-6 * of.scale <= answer.bound <= optimum + 1e-6 * of.scale


def test_two_plants_and_one_line_by_hand() -> None:
    """One group may draw 2 kW at no cost or 0 kW at a cost of 3; the line carries 0.5 kW: a quarter, λ = 1.5."""
    of = program(0, zones=1, groups=1, columns=1, local=0, shared=0)
    empty = of.rows
    block = replace(
        of.blocks[0],
        entries=np.array([[2.0], [0.0]]),
        cost=np.array([0.0, 3.0]),
        group=np.array([0, 0]),
        limit=np.array([0.5]),
        penalty=np.array([10.0]),
        center=np.zeros(1),
        stiffness=np.zeros(1),
    )
    answer = is_linear_optimum(Program((block,), empty, (np.ones(1),), np.empty(0)))
    assert answer.theta[0] == pytest.approx([0.25, 0.75], abs=1e-5)
    assert answer.local[0] == pytest.approx([1.5], abs=1e-5)
    assert answer.cost == pytest.approx(2.25, abs=1e-5)

    cheap = replace(block, penalty=np.array([1.0]))  # paying for 1.5 kW too much costs less than the other column
    answer = is_linear_optimum(Program((cheap,), empty, (np.full(1, 0.5),), np.empty(0)))
    assert answer.theta[0] == pytest.approx([1.0, 0.0], abs=1e-5)
    assert answer.local[0] == pytest.approx([1.0], abs=1e-5)
    assert answer.cost == pytest.approx(1.5, abs=1e-5)


# ---- the proximal program


@few
@given(seed=SEEDS, stiffness=STIFFNESS, tightness=st.sampled_from([0.0, 0.3, 2.0]))
def test_it_finds_the_proximal_optimum(seed: int, stiffness: float, tightness: float) -> None:
    is_answered(program(seed, tightness=tightness).with_stiffness(stiffness))


@few
@given(seed=SEEDS)
def test_rows_may_be_stiff_beside_rows_that_are_not(seed: int) -> None:
    dice, of = np.random.default_rng(seed), program(seed)
    blocks = tuple(
        replace(block, stiffness=dice.choice([0.0, 1e-2, 1.0], len(block.limit)) * dice.random(len(block.limit)))
        for block in of.blocks
    )
    is_answered(replace(of, blocks=blocks))


@few
@given(seed=SEEDS, stiffness=st.sampled_from([1.0, 30.0, 1e3]))
def test_proximal_prices_are_the_same_from_wherever_it_starts(seed: int, stiffness: float) -> None:
    of = program(seed).with_stiffness(stiffness)
    low, high = of.from_everywhere(0.0).solved(1e-9), of.from_everywhere(1.0).solved(1e-9)
    for (rows, one), (_, other) in zip(of.prices(low), of.prices(high), strict=True):
        assert one == pytest.approx(other, abs=1e-3 * max(1.0, float(rows.penalty.max(initial=0.0))))


@few
@given(seed=SEEDS, stiffness=STIFFNESS)
def test_it_leaves_the_linear_optimum_by_no_more_than_its_pull_and_the_centre_by_no_more_than_that_gains(
    seed: int, stiffness: float
) -> None:
    """With ½ k Σ q² the most that the proximal terms are worth:

    value without them ≤ optimum + ½ k Σ q², bound ≥ optimum − ½ k Σ q², ½ k |λ − c|² ≤ optimum − promise of c.
    """
    of = program(seed)
    optimum, answer = linear_optimum(of), of.with_stiffness(stiffness).solved(TOLERANCE)
    off = TOLERANCE + RESIDUAL * of.scale
    prices = of.prices(answer)
    most = stiffness / 2 * sum(float(rows.penalty @ rows.penalty) for rows, _ in prices)
    assert value_of(of, answer.theta) <= optimum + most + off
    assert optimum - most - off <= answer.bound <= optimum + off
    away = stiffness / 2 * sum(float(((price - rows.center) ** 2).sum()) for rows, price in prices)
    assert away <= optimum - promise_of(of, [block.center for block in of.blocks], of.rows.center) + off


@few
@given(seed=SEEDS)
def test_hardly_any_pull_gives_the_linear_optimum_and_a_strong_one_the_centre(seed: int) -> None:
    of = program(seed)
    optimum, answer = linear_optimum(of), of.with_stiffness(1e-9).solved(TOLERANCE)
    assert value_of(of, answer.theta) == pytest.approx(optimum, abs=2 * RESIDUAL * of.scale)
    assert answer.bound == pytest.approx(optimum, abs=2 * RESIDUAL * of.scale)
    for rows, price in of.prices(of.with_stiffness(1e9).solved(TOLERANCE)):
        assert price == pytest.approx(rows.center, abs=1e-3)


# ---- edges

EDGES = {
    "no rows over the city": {"shared": 0},
    "no rows of a zone": {"local": 0},
    "no rows at all": {"shared": 0, "local": 0},
    "one column in every group": {"columns": 1},
    "one column in every group and no rows": {"columns": 1, "shared": 0, "local": 0},
    "one zone": {"zones": 1},
    "one group in every zone": {"groups": 1},
    "limits that nothing keeps": {"tightness": 5.0},
    "limits that everything keeps": {"tightness": -5.0},
    "penalties of every size": {"penalty": (1e-9, 1e3)},
    "penalties of every size, and limits that nothing keeps": {"penalty": (1e-9, 1e3), "tightness": 5.0},
    "penalties of nearly nothing": {"penalty": (1e-9, 1e-8)},
}


@pytest.mark.parametrize("edge", EDGES)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_edges_of_the_linear_program(edge: str, seed: int) -> None:
    is_linear_optimum(program(seed, **EDGES[edge]))  # type: ignore[arg-type]


@pytest.mark.parametrize("edge", EDGES)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, stiffness=STIFFNESS)
def test_edges_of_the_proximal_program(edge: str, seed: int, stiffness: float) -> None:
    is_answered(program(seed, **EDGES[edge]).with_stiffness(stiffness))  # type: ignore[arg-type]


@few
@given(seed=SEEDS, stiffness=st.sampled_from([0.0, 1e-3, 1.0]))
def test_a_column_that_is_there_three_times_changes_nothing(seed: int, stiffness: float) -> None:
    of = program(seed).with_stiffness(stiffness)
    blocks = [
        replace(block, **{name: np.repeat(getattr(block, name), 3, axis=0) for name in ("entries", "cost", "group")})
        for block in of.blocks
    ]
    thrice = replace(of, blocks=tuple(blocks))
    once, answer = is_answered(of), is_answered(thrice)
    off = 2 * RESIDUAL * thrice.scale
    assert value_of(thrice, answer.theta) == pytest.approx(value_of(of, once.theta), abs=off)
    for theta in answer.theta:  # a central answer has no preference among them
        assert np.ptp(theta.reshape(-1, 3), axis=1) == pytest.approx(0, abs=1e-5)


@few
@given(seed=SEEDS, stiffness=st.sampled_from([0.0, 1e-3, 1.0]))
def test_both_ends_of_a_band_may_be_rows(seed: int, stiffness: float) -> None:
    """Every row over the city is there a second time with the other sign: together an equation."""
    of = program(seed, shared=3)
    blocks = tuple(replace(block, entries=np.hstack([block.entries, -block.entries[:, -3:]])) for block in of.blocks)
    ends = replace(
        of.rows,
        limit=np.concatenate([of.rows.limit, -of.rows.limit]),
        **{name: np.tile(getattr(of.rows, name), 2) for name in ("penalty", "center", "stiffness")},
    )
    band = replace(of, blocks=blocks, rows=ends, shared_start=np.tile(of.shared_start, 2))
    if stiffness:
        is_answered(band.with_stiffness(stiffness))
    else:
        is_linear_optimum(band)


@few
@given(seed=SEEDS, copies=st.integers(1, 15), rows=st.integers(1, 30), local=st.booleans(), cost=st.floats(-2, 2))
def test_rows_that_every_mix_just_meets_are_no_trouble(
    seed: int, copies: int, rows: int, local: bool, cost: float
) -> None:
    """Devices that do the same at any price, and limits exactly at that: rows depend on each other, with no room."""
    value = np.random.default_rng(seed).normal(0, 3, rows)
    ends, none = (value.copy(), np.full(rows, 10.0), np.zeros(rows), np.zeros(rows)), (np.empty(0),) * 4
    entries, group = np.tile(value, (copies, 1)), np.zeros(copies, dtype=np.int64)
    block = Block(entries, np.full(copies, cost), group, *(ends if local else none))
    start, no_start = np.full(rows, 0.3), np.empty(0)
    is_linear_optimum(
        Program(
            (block,),
            Rows(*(none if local else ends)),
            (start if local else no_start,),
            no_start if local else start,
        )
    )


@few
@given(seed=SEEDS, unit=st.sampled_from([1e-3, 1e3]))
def test_the_unit_of_a_row_does_not_matter(seed: int, unit: float) -> None:
    of = program(seed)
    blocks = tuple(
        replace(
            block,
            entries=block.entries * unit,
            limit=block.limit * unit,
            penalty=block.penalty / unit,
        )
        for block in of.blocks
    )
    ends = replace(of.rows, limit=of.rows.limit * unit, penalty=of.rows.penalty / unit)
    other = replace(of, blocks=blocks, rows=ends, start=tuple(each / unit for each in of.start))
    answer = is_answered(replace(other, shared_start=of.shared_start / unit))
    assert value_of(other, answer.theta) == pytest.approx(linear_optimum(of), abs=2 * RESIDUAL * of.scale)
