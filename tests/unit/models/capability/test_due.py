"""When a test is due."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from models.capability.due import DUE_WORDS, Due, DueReason, DueRules, EventRatio, due
from models.capability.history import History
from models.capability.programme import FILL, SHAVE
from models.capability.verdict import verdict
from models.errors import InputError
from tests.unit.models.capability.runs import shown

NEVER, EXPIRED, SHORT = DueReason.NEVER_TESTED, DueReason.EXPIRED, DueReason.SHORT_IN_EVENTS
TESTED = verdict(History("r1").with_test(shown(80)), SHAVE)
T0 = shown(80).ended_at
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def event(ratio: float, day: float = 1, **others: Any) -> EventRatio:
    start = T0 + day * DAY
    return replace(EventRatio(f"e{day:g}", SHAVE, start, start + HOUR, ratio), **others)


def at(day: float, *events: EventRatio, **rules: Any) -> Due:
    return due(TESTED, events, T0 + day * DAY, DueRules(**rules))


def test_who_was_never_tested_is_to_be_tested() -> None:
    for history in (
        History("r1"),
        History("r1").with_test(shown(None)),
        History("r1").with_test(shown(9, direction=FILL)),
    ):
        found = due(verdict(history, SHAVE), [event(0.1)], T0 + 2 * DAY)
        assert found.reasons == (NEVER,)
        assert found.is_due
        assert found.expires_at is None


def test_a_figure_in_force_that_events_bear_out_needs_no_test() -> None:
    found = at(2, event(1.0))
    assert found.reasons == ()
    assert not found.is_due
    assert found.expires_at == T0 + 365 * DAY


def test_a_figure_expires() -> None:
    assert not at(364.99).is_due
    assert at(365).reasons == (EXPIRED,)


@pytest.mark.parametrize(("ratio", "short"), [(0.89, True), (0.9, False), (1.3, False), (-0.2, True)])
def test_an_event_that_gave_less_than_the_tolerance_makes_a_test_due(ratio: float, short: bool) -> None:
    found = at(2, event(ratio))
    assert found.reasons == ((SHORT,) if short else ())
    assert found.short_events == (("e1",) if short else ())
    assert at(2, event(ratio), tolerance=0.5).is_due == (ratio < 0.5)


def test_a_ratio_at_the_edge_is_not_short_by_rounding() -> None:
    assert not at(2, event(0.3), tolerance=0.7).is_due  # 1 - 0.7 is a little more than 0.3


def test_how_many_short_events_it_takes_is_data() -> None:
    events = [event(0.5), event(1.0, 2), event(0.6, 3)]
    assert at(4, *events, least_short_events=2).reasons == (SHORT,)
    few = at(4, *events, least_short_events=3)
    assert not few.is_due
    assert few.short_events == ("e1", "e3")  # seen, though not enough


def test_only_events_of_its_direction_that_are_over_and_came_after_the_test_count() -> None:
    assert not at(2, event(0.5, direction=FILL)).is_due
    assert not at(1.04, event(0.5)).is_due  # it ends after one hour, 0.0417 of a day
    assert at(1 + 1 / 24, event(0.5)).is_due
    assert not at(2, event(0.5, -0.01)).is_due  # the test has answered it
    assert at(2, event(0.5, 0)).is_due


def test_all_reasons_are_told() -> None:
    found = at(400, event(0.5))
    assert found.reasons == (EXPIRED, SHORT)
    assert found.told("en") == ["the tested figure has expired", "events gave less than the tested figure"]
    assert found.told("zh") == ["测试结果已过期", "事件中表现低于测试值"]
    assert list(DUE_WORDS) == list(DueReason)


def test_a_ratio_is_a_number_and_rules_make_sense() -> None:
    for ratio in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="of event e1 must be finite"):
            event(ratio)
    for rule in ({"tolerance": 1}, {"tolerance": -0.1}, {"least_short_events": 0}, {"days": 3}):
        with pytest.raises(ValidationError, match=next(iter(rule))):
            DueRules(**rule)


def test_the_fingerprint_is_of_verdict_events_moment_and_rules() -> None:
    plain = at(2, event(0.5))
    assert at(2, event(0.5)).inputs_sha256 == plain.inputs_sha256
    others = [
        at(3, event(0.5)),
        at(2, event(0.6)),
        at(2, event(0.5, event_id="x")),
        at(2, event(0.5, direction=FILL)),
        at(2, event(0.5, end=T0 + DAY + 2 * HOUR)),
        at(2, event(0.5, start=T0 + HOUR)),
        at(2),
        at(2, event(0.5), tolerance=0.2),
        due(replace(TESTED, inputs_sha256="another"), [event(0.5)], T0 + 2 * DAY, DueRules()),
    ]
    assert len({plain.inputs_sha256, *(each.inputs_sha256 for each in others)}) == 10
    assert due(TESTED, [event(0.5)], T0 + 2 * DAY) == plain
