"""Twenty random small fleets of all kinds and scopes: the fast path against the optimum of the reference.

The same as ``vpp bench exactness``, which runs as many as are asked for.  The reference is solved to 1e-7; the fast
path twice, as it comes and forced to generate columns.
"""

from dataclasses import replace

import numpy as np
import pytest

from models.events import Direction, ScopeKind
from models.resources import ResourceKind
from tests.fleets import situation
from vpp.bench.exactness import REFERENCE_GAP, Outcome, compared, holds, solved, summary

SEEDS = range(0, 60, 3)
SIZES = {"most_resources": 8, "most_intervals": 14}
Outcomes = dict[str, list[Outcome]]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    found: Outcomes = {"as it is": [], "forced": []}
    for seed in SEEDS:
        problem = situation(seed, **SIZES)
        reference = solved(problem)
        for mode, several in found.items():
            several.append(compared(seed, problem, reference, forced=mode == "forced"))
    return found


def test_the_twenty_fleets_have_every_kind_scope_direction_and_trouble() -> None:
    problems = [situation(seed, **SIZES) for seed in SEEDS]
    events = [event for problem in problems for event in problem.events]
    assert {row.kind for problem in problems for row in problem.fleet.rows()} == set(ResourceKind)
    assert {event.scope_kind for event in events} == set(ScopeKind)
    assert {event.direction for event in events} == set(Direction)
    for trouble in (
        lambda problem: problem.commitments,
        lambda problem: problem.states,
        lambda problem: problem.real_time is not None,
        lambda problem: problem.baseline_kw is not None,
        lambda problem: len(set(problem.grid.hours.tolist())) > 1,
        lambda problem: min(values.min() for values in problem.tariffs.values()) < 0,
        lambda problem: len(problem.fleet) > len(problem.fleet.resource_ids),
        lambda problem: any(event.rebound_cap_kw is not None for event in problem.events),
    ):
        assert sum(bool(trouble(problem)) for problem in problems) >= 4


@pytest.mark.parametrize("mode", ["as it is", "forced"])
def test_no_bound_passes_the_optimum_and_the_checker_finds_nothing(outcomes: Outcomes, mode: str) -> None:
    assert {each.seed: each.faults for each in outcomes[mode] if each.faults} == {}


def test_the_reference_is_solved_to_a_ten_millionth(outcomes: Outcomes) -> None:
    for each in outcomes["as it is"]:
        rounding = 2e-9 * max(1.0, abs(each.objective_cny) + each.scale_cny) / each.scale_cny  # of the bound it prints
        assert not each.reference_open
        assert each.reference_gap <= REFERENCE_GAP + rounding


@pytest.mark.parametrize("mode", ["as it is", "forced"])
def test_the_printed_gap_is_never_smaller_than_the_true_one(outcomes: Outcomes, mode: str) -> None:
    for each in outcomes[mode]:
        assert each.printed_gap >= each.true_gap - 1e-6 * max(1.0, abs(each.objective_cny) / each.scale_cny)


def test_as_it_is_the_fast_path_meets_the_reference(outcomes: Outcomes) -> None:
    gaps = np.array([each.true_gap for each in outcomes["as it is"]])
    assert (gaps <= 1e-4).mean() >= 0.95
    assert np.median(gaps) <= 1e-6
    assert holds(outcomes["as it is"], forced=False)


def test_forced_columns_print_how_far_off_they_are(outcomes: Outcomes) -> None:
    """Three devices are no million: there columns alone may miss the optimum, but never the truth about it."""
    found = summary(outcomes["forced"], forced=True)
    assert found["holds"]
    assert found["true_gap"]["median"] <= 3e-3
    assert found["true_gap"]["median"] <= found["printed_gap"]["median"]


def test_a_wrong_bound_and_a_wrong_objective_are_found(outcomes: Outcomes) -> None:
    """The comparison can fail."""
    problem = situation(0, **SIZES)
    reference = solved(problem)
    cheaper = replace(reference, objective_cny=reference.objective_cny - 5.0)
    dearer = replace(reference, lower_bound_cny=reference.objective_cny + 5.0)
    assert any("above the optimum" in fault for fault in compared(0, problem, cheaper, forced=False).faults)
    assert any("below what is possible" in fault for fault in compared(0, problem, dearer, forced=False).faults)
    broken = [replace(each, faults=("something",)) for each in outcomes["as it is"][:1]]
    assert not holds(broken, forced=False)
    assert not holds([replace(each, true_gap=0.1) for each in outcomes["as it is"]], forced=False)
