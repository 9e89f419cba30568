from datetime import timedelta

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.errors import InputError
from models.settlement.fairness import fairness_ledger, gini
from models.settlement.settle import settle
from models.settlement.statement import Statement
from tests.unit.models.settlement.calls import call, rule_named

SICHUAN = rule_named("sichuan_market_v1")
SHARES = st.lists(st.floats(0, 1e9), min_size=1, max_size=30).map(np.array)


@given(SHARES)
def test_gini_is_half_the_relative_mean_difference(x: np.ndarray) -> None:
    assume(x.sum() > 1e-300)
    pairs = np.abs(x[:, None] / x.max() - x[None, :] / x.max()).sum()
    assert gini(x) == pytest.approx(pairs / (2 * x.size * (x / x.max()).sum()), abs=1e-12)


@given(SHARES, st.floats(1e-6, 1e6))
def test_gini_does_not_know_the_unit_and_lies_where_it_must(x: np.ndarray, factor: float) -> None:
    assume(not ((x > 0) & (x * factor < 1e-300)).any())
    assert gini(x * factor) == pytest.approx(gini(x), abs=1e-12)
    assert 0 <= gini(x) <= 1 - 1 / x.size
    assert gini(x[::-1]) == pytest.approx(gini(x), abs=1e-12)


@given(st.integers(1, 50), st.floats(0, 1e12))
def test_gini_of_equals_is_nothing(n: int, value: float) -> None:
    assert gini(np.full(n, value)) == pytest.approx(0, abs=1e-12)


@given(st.integers(1, 50))
def test_gini_is_largest_where_one_has_all(n: int) -> None:
    assert gini(np.eye(n)[0]) == pytest.approx(1 - 1 / n)


@given(SHARES, st.floats(0, 1))
def test_what_the_richest_gives_to_the_poorest_makes_it_fairer(x: np.ndarray, part: float) -> None:
    assume(x.size > 1)
    low, high = int(np.argmin(x)), int(np.argmax(x))
    given_away = x.copy()
    amount = part * (x[high] - x[low]) / 2
    given_away[high] -= amount
    given_away[low] += amount
    assert gini(given_away) <= gini(x) + 1e-12


def test_gini_by_hand_and_of_debts() -> None:
    assert gini(np.array([1, 3])) == pytest.approx(0.25)  # (|1 - 3| + |3 - 1|) / (2 · 2² · 2) = 4 / 16
    assert gini(np.array([])) == 0
    assert gini(np.array([1e308, 1e308, 0.0])) == pytest.approx(1 / 3)  # (-2 · 0 + 0 · 1 + 2 · 1) / (3 · 2)
    with pytest.raises(InputError, match="must not be negative"):
        gini(np.array([1.0, -1.0]))
    with pytest.raises(InputError, match="must not be negative or missing"):
        gini(np.array([1.0, np.nan]))


def statement(event_id: str, *rows: tuple[str, float, float]) -> Statement:
    names, delivered, award = zip(*rows, strict=True)
    inputs = call([[q, q] for q in delivered], [[b, b] for b in award], ids=list(names), step=timedelta(minutes=30))
    return Statement(event_id, 1, (settle(inputs, SICHUAN),))


def test_the_ledger_counts_calls_hours_and_money() -> None:
    # e1: x 2 · 40 = 80 of 80; y not asked; e2: x 2 · 30 = 60 of 80: 60, penalty (72 - 60) · 1.1; z owes for its load
    events = (
        statement("e1", ("x", 40, 40), ("y", 5, 0)),
        statement("e2", ("x", 30, 40), ("z", -5, 10)),
    )
    ledger = fairness_ledger(["z", "y", "x"], events)
    assert ledger.calls.tolist() == [1, 0, 2]
    assert ledger.hours.tolist() == [1.0, 0.0, 2.0]
    assert [str(ledger.received_cny(name)) for name in ("z", "y", "x")] == ["-10.00", "0.00", "140.00"]
    assert ledger.penalty_fen.tolist() == [3080, 0, 1320]  # z: (18 + 10) · 1.1
    assert ledger.gini_of_calls == pytest.approx(4 / 9)  # Σ (2 i - 4) x = -2 · 0 + 0 · 1 + 2 · 2 = 4, over 3 · 3
    assert ledger.gini_of_hours == pytest.approx(4 / 9)
    assert ledger.gini_of_money == pytest.approx(2 / 3)  # one has all of it, of three


def test_a_corrected_event_is_not_counted_twice_and_strangers_are_named() -> None:
    first = statement("e1", ("x", 40, 40))
    with pytest.raises(InputError, match="each event must come once"):
        fairness_ledger(["x"], (first, first.corrected(first.parts, "again")))
    with pytest.raises(InputError, match="got 'x'"):
        fairness_ledger(["y"], (first,))
