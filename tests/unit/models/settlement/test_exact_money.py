import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.intervals import IntervalGrid
from models.settlement.exact import cny, cny_per_kwh, divided, fen, kwh, micro, split, wh
from models.settlement.inputs import input_digests

WHOLE = st.integers(-(10**12), 10**12)


@given(WHOLE, st.integers(1, 10**6))
def test_division_rounds_half_to_even_like_decimal(numerator: int, denominator: int) -> None:
    expected = int((Decimal(numerator) / denominator).to_integral_value(ROUND_HALF_EVEN))
    assert divided(np.array([numerator]), denominator).tolist() == [expected]


def test_halves_go_to_the_even_neighbour_on_both_sides() -> None:
    assert divided(np.array([5, 15, 25, -5, -15]), 10).tolist() == [0, 2, 2, 0, -2]
    assert wh([0.0005, 0.0015, -0.0025], "x").tolist() == [0, 2, -2]
    assert micro(Decimal("0.0000005")) == 0
    assert micro(Decimal("0.0000015")) == 2


@given(WHOLE, st.integers(0, 4 * 10**6))
def test_money_is_the_shown_quantity_times_the_shown_price(energy_wh: int, price_micro: int) -> None:
    money = fen(np.array([energy_wh]), np.array([price_micro]))[0]
    shown = (kwh(energy_wh) * cny_per_kwh(price_micro)).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    assert cny(int(money)) == shown
    assert fen(np.array([-energy_wh]), np.array([price_micro]))[0] == -money


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any))
def test_a_split_sums_to_the_whole_and_is_off_by_less_than_one(total: int, weights: list[int]) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e10])
def test_numbers_that_are_none_are_refused_at_the_door(value: float) -> None:
    with pytest.raises(InputError, match="metered_kwh"):
        wh([1.0, value], "metered_kwh")


def test_a_digest_is_the_hash_of_canonical_json_of_one_resource() -> None:
    grid = IntervalGrid.regular(datetime(2025, 7, 16, 5, tzinfo=UTC), timedelta(hours=1), 1)
    column = np.array([[1.5], [2.0]])
    digests = input_digests(grid, ["甲", "b"], column, column / 2, column / 4)
    text = (
        '{"award_wh":[375],"baseline_wh":[1500],"edges":["2025-07-16T05:00:00+00:00","2025-07-16T06:00:00+00:00"],'
        '"metered_wh":[750],"resource_id":"\\u7532"}'
    )
    assert json.loads(text)["metered_wh"] == [750]
    assert digests[0] == hashlib.sha256(text.encode()).hexdigest()
    assert digests[0] != digests[1]
    assert input_digests(grid, ["甲", "b"], column, column / 2 + 0.001, column / 4)[0] != digests[0]
