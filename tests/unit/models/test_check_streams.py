"""A plan that comes in blocks is judged as the plan at once; compiled oracles do not change a report."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from models.dispatch.check import CheckReport, bound, check_plan, check_stream
from models.dispatch.check import plan as checking
from models.dispatch.problem import DispatchProblem
from models.plan import DispatchPlan, PlanSource
from models.plan_stream import PlanBlock, PlanStream, plan_blocks
from tests.unit.models.test_check_screens import solved

SEEDS = (3000, 3001, 3002, 3007)
"""One of each sort of problem (see ``solved``); of those with unequal steps one that is soon solved."""


@dataclass
class Streamed:
    """A plan as a stream of blocks of five; ``blocks_of`` may make something else of them."""

    plan: DispatchPlan
    spoil: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plan, name)

    def blocks(self, rows: int = 5) -> Iterator[PlanBlock]:
        for k, block in enumerate(plan_blocks(self.plan, min(rows, 5))):
            made = block if self.spoil is None else self.spoil(k, block)
            if made is not None:
                yield made


def spoiled(seed: int) -> tuple[DispatchProblem, DispatchPlan]:
    """A plan with something off here and there."""
    problem, plan = solved(seed)
    dice = np.random.default_rng(seed)
    off = np.where(dice.random(plan.power_kw.shape) < 0.05, dice.normal(0, 3, plan.power_kw.shape), 0.0)
    return problem, replace(plan, power_kw=plan.power_kw + off, baseline_kw=plan.baseline_kw + np.roll(off, 1, axis=0))


def same(one: CheckReport, other: CheckReport) -> None:
    assert [(v.subject, v.limit, v.interval_start, v.table) for v in one.violations] == [
        (v.subject, v.limit, v.interval_start, v.table) for v in other.violations
    ]
    for name in ("objective_cny", "baseline_cost_cny", "lower_bound_cny"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9)
    for name in ("bound_kinds", "plan_hash", "baseline_hash"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_is_judged_as_the_plan_at_once(seed: int) -> None:
    for problem, plan in (solved(seed), spoiled(seed)):
        stream: PlanStream = Streamed(plan)
        same(check_stream(problem, stream), check_plan(problem, plan))


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_oracles_report_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, plan = solved(seed)
    dear = replace(plan, baseline_kw=plan.power_kw, baseline_energy_kwh=plan.energy_kwh)
    cases = ((problem, plan), spoiled(seed), (problem, dear))
    wanted = [check_plan(*case) for case in cases]
    monkeypatch.setattr(bound, "MANY", 1)
    monkeypatch.setattr(bound, "MANY_GENERATORS", 1)
    for case, report in zip(cases, wanted, strict=True):
        same(check_plan(*case), report)
    assert "baseline_cost" in {item.limit for item in wanted[2].violations}


def test_a_fast_plans_bound_is_held_against_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, plan = solved(SEEDS[0])
    own = check_plan(problem, plan).lower_bound_cny
    assert own is not None
    monkeypatch.setattr(bound, "MANY", 1)
    monkeypatch.setattr(bound, "MANY_GENERATORS", 1)
    fast = replace(plan, source=PlanSource.FAST, lower_bound_cny=own)
    assert check_plan(problem, fast).ok
    off = replace(fast, lower_bound_cny=own - 2e-6 * max(1.0, abs(plan.objective_cny), abs(own)))
    assert [item.limit for item in check_plan(problem, off).violations] == ["lower_bound_cny"]


def nameless(k: int, block: PlanBlock) -> PlanBlock:
    return replace(block, resource_ids=tuple(reversed(block.resource_ids))) if k == 1 else block


def holed(k: int, block: PlanBlock) -> PlanBlock:
    power = block.power_kw.copy()
    power[0, :2] = np.nan
    return replace(block, power_kw=power) if k < 2 else block


@pytest.mark.parametrize(
    ("spoil", "limit", "got"),
    [
        (lambda k, block: None if k == 2 else block, "resource_ids", None),
        (lambda k, block: None if k == 3 else block, "resource_ids", None),
        (nameless, "resource_ids", None),
        (holed, "power_kw must be finite", 4),
    ],
    ids=["missing", "short", "order", "holes"],
)
def test_blocks_that_are_not_the_fleets_are_named(spoil: Any, limit: str, got: int | None) -> None:
    problem, plan = solved(SEEDS[2])
    stream: PlanStream = Streamed(plan, spoil)
    report = check_stream(problem, stream)
    assert [item.limit for item in report.violations] == [limit]
    assert got is None or report.violations[0].got == got
    assert not report.ok


def test_a_stream_of_nothing_but_violations_is_listed_up_to_a_number_and_counted_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, plan = solved(SEEDS[0])
    bad = replace(plan, power_kw=plan.power_kw + 1e5)
    whole = check_plan(problem, bad)
    devices = [item for item in whole.violations if item.kind not in ("plan", "requirement")]
    monkeypatch.setattr(checking, "MOST_LISTED", 10)
    stream: PlanStream = Streamed(bad)
    report = check_stream(problem, stream)
    listed = [item for item in report.violations if item.kind not in ("plan", "requirement")]
    assert listed == devices[: len(listed)]
    assert 10 <= len(listed) < len(devices)
    assert report.unlisted == len(problem.fleet.resource_ids) - 5
    assert whole.unlisted == 0


def test_a_given_baseline_is_compared_block_by_block() -> None:
    problem, plan = solved(SEEDS[2])
    given = plan.baseline_kw.copy()
    given[[1, 9], 3] += 1e-9
    stream: PlanStream = Streamed(plan)
    report = check_stream(replace(problem, baseline_kw=given), stream, bound=False)
    named = [(item.subject, item.limit) for item in report.violations]
    assert named == [(plan.resource_ids[row], "baseline_given") for row in (1, 9)]
