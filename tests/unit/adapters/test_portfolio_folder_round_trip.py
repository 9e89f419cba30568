from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.feeds.portfolio_folder import portfolio_schemas, read_portfolio, write_portfolio
from models.dispatch.problem import DispatchProblem, ResourceState
from models.fleet import Fleet
from models.intervals import IntervalGrid
from models.resources import Pillar, Pv
from vpp.example_portfolio import example_problem


def assert_same(one: DispatchProblem, other: DispatchProblem) -> None:
    assert one.grid == other.grid
    assert one.zones == other.zones
    np.testing.assert_array_equal(one.zone_load_kw, other.zone_load_kw)
    np.testing.assert_array_equal(one.zone_limit_kw, other.zone_limit_kw)
    for name in ("tariffs", "profiles", "run_profiles"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert list(ours) == list(theirs)
        for key, values in ours.items():
            np.testing.assert_array_equal(values, theirs[key])
    assert (dict(one.areas), one.events, one.commitments) == (
        dict(other.areas),
        other.events,
        other.commitments,
    )
    assert dict(one.states) == dict(other.states)
    assert list(one.fleet.rows()) == list(other.fleet.rows())


@pytest.mark.parametrize("fmt", ["csv", "parquet"])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_example_city_reads_back_as_it_was_written(tmp_path: Path, fmt: str, seed: int) -> None:
    problem = example_problem(30, seed)
    write_portfolio(tmp_path, problem, fmt)  # type: ignore[arg-type]
    assert_same(problem, read_portfolio(tmp_path))


numbers = st.floats(min_value=-1e9, max_value=1e9)
positive = st.floats(min_value=0, max_value=1e9)


@st.composite
def problems(draw: st.DrawFn) -> DispatchProblem:
    count = draw(st.integers(1, 5))
    steps = draw(st.lists(st.integers(1, 10**10), min_size=count, max_size=count))
    edges = [datetime(2025, 3, 30, 0, 59, 59, 999999, tzinfo=UTC)]
    for step in steps:
        edges.append(edges[-1] + timedelta(microseconds=step))
    series = st.lists(numbers, min_size=count, max_size=count).map(np.array)
    shares = st.lists(positive, min_size=count, max_size=count).map(np.array)
    panel = Pv(
        resource_id="p",
        aggregator_id="a",
        zone_id="z",
        meter_id="m",
        pillar=Pillar.SOURCE,
        tariff_id="t",
        available_profile="s",
        available_scale_kw=draw(positive),
        curtail_cost_per_kwh=draw(positive),
    )
    state = ResourceState(
        energy_kwh=draw(st.none() | numbers),
        on=draw(st.none() | st.booleans()),
        calls_used=draw(st.none() | st.just(3)),
        curtailed_history=tuple(draw(st.lists(st.tuples(positive, positive, positive), max_size=2))),
    )
    limit = draw(st.lists(numbers | st.just(np.inf), min_size=count, max_size=count))
    return DispatchProblem(
        IntervalGrid(tuple(edges)),
        Fleet.from_rows([panel]),
        ("z",),
        draw(series)[None],
        np.array([limit]),
        {"t": draw(series)},
        {"s": draw(shares)},
        states={"p": state},
    )


@settings(max_examples=40, deadline=None)
@given(problem=problems(), fmt=st.sampled_from(["csv", "parquet"]))
def test_any_numbers_and_any_intervals_read_back_exactly(
    problem: DispatchProblem, fmt: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("portfolio")
    write_portfolio(folder, problem, fmt)  # type: ignore[arg-type]
    assert_same(problem, read_portfolio(folder, grid_hint=problem.grid))


def test_every_table_has_a_schema_with_its_required_columns() -> None:
    schemas = portfolio_schemas()
    assert {"storage", "ev_sessions", "profiles", "tariffs", "system", "state"} <= schemas.keys()
    assert len(schemas) == 15
    assert set(schemas["tariffs"]["required"]) == {"tariff_id", "interval_start", "price_per_kwh"}
    assert "kind" not in schemas["storage"]["properties"]
    assert all(schema["additionalProperties"] is False for schema in schemas.values())
