"""Programmes and definitions as data: what is refused, and the defaults by class."""

from typing import Any

import pytest
from pydantic import ValidationError

from models.capability.definitions import USUAL, Definitions
from models.capability.programme import (
    FILL,
    SHAVE,
    TIMINGS,
    Programme,
    ProgrammeStep,
    ResourceClass,
    class_of,
    standard_programme,
)
from models.resources import EvSession, ResourceKind
from tests.fleets import random_problem
from tests.unit.models.capability.runs import UP_AND_DOWN, programme

ROWS = list(random_problem(5, resources=8).fleet.rows())
STEP: dict[str, Any] = {"start_s": 0, "length_s": 60, "ordered_kw": 5}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"ordered_share": 0.5}, "and not both"),
        ({"ordered_kw": None}, "must be given, or ordered_share"),
        ({"settle_s": 60}, "settle_s: must be less than length_s 60"),
        ({"length_s": 0}, "greater than or equal to 1"),
        ({"length_s": 604_801}, "less than or equal"),
        ({"start_s": -1}, "greater than or equal to 0"),
        ({"ordered_kw": -1}, "greater than or equal to 0"),
        ({"ordered_kw": 2e9}, "less than or equal"),
        ({"ordered_kw": None, "ordered_share": 1.1}, "less than or equal to 1"),
        ({"direction": "up"}, "'shave' or 'fill'"),
        ({"power": 1}, "Extra inputs"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused(change: dict[str, Any], rule: str) -> None:
    assert ProgrammeStep(**STEP).end_s == 60
    with pytest.raises(ValidationError, match=rule):
        ProgrammeStep(**{**STEP, **change})


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ([{**STEP, "start_s": 1}], "the first must start at 0 s"),
        ([STEP, {**STEP, "start_s": 61}], "where the one before ends, at 60 s"),
        ([STEP, {**STEP, "start_s": 59}], "where the one before ends, at 60 s"),
        ([{**STEP, "ordered_kw": 0}, {"start_s": 60, "length_s": 60, "ordered_share": 0}], "at least one must order"),
        ([{**STEP, "length_s": 604_800}, {**STEP, "start_s": 604_800}], "within a week"),
        ([], "at least 1 item"),
    ],
)
def test_a_programme_whose_steps_do_not_fit_is_refused(steps: list[dict[str, Any]], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Programme.model_validate({"programme_id": "p", "resource_class": "ES", "steps": steps})


def test_steps_may_have_lengths_that_no_float_holds_exactly() -> None:
    plan = programme((1.1, SHAVE, 0, 0), (2.2, SHAVE, 5, 0), (3.3, FILL, 5, 0))
    assert plan.length_s == pytest.approx(6.6)
    ends = [{**STEP, "start_s": 0, "length_s": 1.1}, {**STEP, "start_s": 1.1000000001}]
    Programme.model_validate({"programme_id": "p", "resource_class": "ES", "steps": ends})


def test_an_order_is_kw_or_a_share_of_what_is_declared() -> None:
    assert ProgrammeStep(start_s=0, length_s=60, ordered_share=0.25).order_of(80) == 20
    assert ProgrammeStep(start_s=0, length_s=60, ordered_kw=7).order_of(80) == 7


@pytest.mark.parametrize(
    ("kind", "rest", "settle", "between", "directions"),
    [
        ("DG", 900, 600, 1200, [SHAVE, FILL]),
        ("ES", 900, 60, 900, [SHAVE, FILL]),
        ("FL", 900, 900, 1800, [SHAVE]),
    ],
)
def test_the_default_of_a_class_holds_all_that_is_declared_for_an_hour(
    kind: str, rest: float, settle: float, between: float, directions: list[str]
) -> None:
    plan = standard_programme(ResourceClass(kind))
    called = [step for step in plan.steps if step.ordered_share]
    assert [step.direction for step in called] == directions
    assert all(step.ordered_share == 1 and step.settle_s == settle for step in called)
    assert all(step.length_s - step.settle_s == 3600 for step in called)
    assert plan.steps[0].ordered_share == 0
    assert plan.steps[0].length_s == rest
    assert plan.resource_class == kind
    assert not plan.verified
    assert plan.source == TIMINGS[ResourceClass(kind)].source
    rests = [step.length_s for step in plan.steps[2:] if step.ordered_share == 0]
    assert rests == [between] * (len(directions) - 1)
    both = standard_programme(ResourceClass(kind), [FILL, SHAVE])
    assert [step.length_s for step in both.steps[::2]] == [rest, between]


def test_a_default_can_be_had_for_one_direction_only() -> None:
    plan = standard_programme(ResourceClass.FLEXIBLE_LOAD, [FILL])
    assert [step.direction for step in plan.steps if step.ordered_share] == [FILL]
    assert plan.programme_id == "fl-fill"
    assert standard_programme(ResourceClass.ENERGY_STORAGE).programme_id == "es-shave-fill"


def test_every_kind_of_resource_has_a_class() -> None:
    found = {row.kind: class_of(row).value for row in ROWS if not isinstance(row, EvSession)}
    assert found == {
        ResourceKind.STORAGE: "ES",
        ResourceKind.CURTAILABLE_LOAD: "FL",
        ResourceKind.INTERRUPTIBLE_LOAD: "FL",
        ResourceKind.SHIFTABLE_LOAD: "FL",
        ResourceKind.THERMAL_LOAD: "FL",
        ResourceKind.GENERATOR: "DG",
        ResourceKind.PV: "DG",
    }


def test_a_car_that_can_feed_in_counts_as_storage_and_another_as_a_load() -> None:
    car = next(row for row in ROWS if isinstance(row, EvSession))
    for limit, kind in ((0.0, "FL"), (7.0, "ES")):
        assert class_of(car.model_copy(update={"discharge_limit_kw": limit})) == kind


def test_a_programme_survives_the_way_through_json() -> None:
    assert Programme.model_validate_json(UP_AND_DOWN.model_dump_json()) == UP_AND_DOWN


# ---- definitions


def test_every_choice_is_data_with_what_it_means() -> None:
    told = Definitions().choices()
    assert {name for name, _, _ in told} == set(Definitions.model_fields) - {"source", "verified"}
    assert {name: value for name, value, _ in told}["tail_share"] == 0.05
    assert all(len(meaning) > 20 for _, _, meaning in told)
    assert not Definitions().verified


def test_the_usual_definitions_are_these() -> None:
    usual = {name: value for name, value, _ in Definitions().choices()}
    assert usual == {
        "longest_span_s": 180,
        "missing_most": 0.1,
        "least_readings": 3,
        "least_change_share": 0.05,
        "tail_share": 0.05,
        "regulating_of": "change",
        "before_s": 300,
        "response_share": 0.1,
        "response_stays_s": 60,
        "ramp_from": 0.1,
        "ramp_to": 0.9,
        "block_s": 60,
        "band_low": 0.9,
        "band_high": 1.1,
        "year_days": 365,
        "year_least_days": 330,
        "year_longest_span_s": 3600,
    }
    own = {
        kind.value: {name: value for name, value, _ in chosen.choices() if value != usual[name]}
        for kind, chosen in USUAL.items()
    }
    assert own == {
        "DG": {},
        "ES": {"longest_span_s": 30, "response_stays_s": 10, "before_s": 60},
        "FL": {"block_s": 300},
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tail_share": 0.5}, "tail_share"),
        ({"missing_most": 1}, "missing_most"),
        ({"band_low": 1}, "band_low"),
        ({"band_high": 1}, "band_high"),
        ({"ramp_from": 0.9}, "ramp_to: must be more than ramp_from 0.9"),
        ({"regulating_of": "energy"}, "regulating_of"),
        ({"threshold": 1}, "Extra inputs"),
    ],
)
def test_definitions_that_make_no_sense_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Definitions(**change)
