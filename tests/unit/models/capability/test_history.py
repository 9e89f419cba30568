"""A history of tests only grows, and can be read again."""

import itertools
import json
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from models.canonical import canonical_json
from models.capability.assessment import AssessedTest, assess
from models.capability.history import History
from models.errors import InputError
from tests.unit.models.capability.runs import BY_HAND, PLAIN, UP, history, run, shown


def test_a_history_only_grows() -> None:
    tests = [shown(80), shown(None, 3), shown(70, 2)]
    grown = list(itertools.accumulate(tests, History.with_test, initial=History("r1")))
    for a, b in itertools.product(range(4), range(4)):
        assert grown[a].continues(grown[b]) == (a >= b)
    assert len({each.sha256 for each in grown}) == 4
    assert grown[3].tests == tuple(tests)


def test_a_history_with_another_past_does_not_continue_this_one() -> None:
    now = history(shown(80), shown(70, 1))
    assert not history(shown(81), shown(70, 1), shown(60, 2)).continues(now)
    assert not history(shown(70, 1), shown(80)).continues(now)
    assert not replace(now, resource_id="r2").continues(now)
    assert not replace(History("r1"), resource_id="r2").continues(History("r1"))
    changed = replace(shown(80), missing_share=0.01)
    assert not history(changed, shown(70, 1)).continues(now)


def test_what_was_recorded_is_not_recorded_again_nor_otherwise() -> None:
    known = history(shown(80, 1))
    for again in (shown(80, 1), shown(90, 1), shown(90, 1.05), shown(90, 0.95)):
        with pytest.raises(InputError, match="a history is not rewritten"):
            known.with_test(again)
    edge = 1 / 12  # a test ends where the next one begins
    assert len(known.with_test(shown(90, 1 + edge)).with_test(shown(90, 1 - edge)).tests) == 3
    with pytest.raises(InputError, match="must be a test of r1"):
        known.with_test(shown(90, 5, resource_id="r2"))


def test_what_is_recorded_can_be_read_again() -> None:
    for test in (assess(run(BY_HAND), PLAIN), assess(run([float("nan")] * 15, UP), PLAIN)):
        again = TypeAdapter(AssessedTest).validate_json(canonical_json(test.facts()))
        assert again == test
        assert history(again).sha256 == history(test).sha256
    assert json.loads(canonical_json(assess(run(BY_HAND), PLAIN).facts()))["indices"]["regulating_kw"]["value"] == 143
