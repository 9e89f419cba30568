"""The fingerprint of a baseline: the same tomorrow, another with anything that matters."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from models.settlement.methods.case import BaselineCase
from models.settlement.methods.evaluate import baseline_by
from models.settlement.methods.frozen import frozen_sha256, input_sha256
from models.settlement.methods.table import method_named
from tests.baseline_days import clock_days, event_on_next_weekday, flat_days

DAYS = 90 + 7.0 * (np.arange(14)[:, None] % 5) + np.arange(24) * (np.arange(14)[:, None] % 3)


def case() -> BaselineCase:
    shown = np.where(np.arange(24) < 14, 103.5, np.nan)
    return event_on_next_weekday(clock_days(DAYS), shown)


def fingerprint(of: BaselineCase, method_id: str = "pjm_4_5_saa") -> str:
    method = method_named(method_id)
    return frozen_sha256(method, of, baseline_by(method, of))


@pytest.mark.parametrize(
    ("method_id", "written_down"),
    [
        ("pjm_4_5_saa", "058217d8f457b691fe3ed3ad77913ee20dd975ed5a6d15d473d53973b386a888"),
        ("learned_morning", "09aaea4fe454138f53a58a57ab41af8d080cabcc2449e0886cdd3a26e4d848d7"),
    ],
)
def test_the_fingerprint_is_the_one_that_was_written_down(method_id: str, written_down: str) -> None:
    """If this changes, every statement of the past loses its proof: add a version, do not change a row."""
    assert fingerprint(case(), method_id) == written_down


def test_words_are_not_in_it() -> None:
    method, of = method_named("pjm_4_5_saa"), case()
    found = baseline_by(method, of)
    renamed = method.model_copy(update={"title_en": "something else", "source": "read at last", "verified": True})
    assert frozen_sha256(renamed, of, found) == frozen_sha256(method, of, found)


@pytest.mark.parametrize(
    "more",
    [
        {"day": date(2025, 6, 24)},
        {"start_h": 15.0},
        {"event_days": frozenset({date(2025, 6, 2)})},
        {"holidays": frozenset({date(2030, 1, 1)})},
        {"outage_days": frozenset({date(2025, 6, 2)})},
        {"firm_kw": 3.0},
        {"called_customers": 2},
        {"schedule_kw": np.zeros(24)},
        {"history": clock_days(DAYS + 1e-3)},
        {"day_kw": np.full(24, 103.5)},
    ],
)
def test_anything_looked_at_is_in_it(more: dict) -> None:
    assert input_sha256(replace(case(), **more)) != input_sha256(case())
    assert fingerprint(replace(case(), **more)) != fingerprint(case())


def test_version_parameters_and_result_are_in_it() -> None:
    method, of = method_named("pjm_4_5_saa"), case()
    found = baseline_by(method, of)
    same = frozen_sha256(method, of, found)
    assert frozen_sha256(method.model_copy(update={"version": 2}), of, found) != same
    assert frozen_sha256(method.model_copy(update={"adjustment": None}), of, found) != same
    assert frozen_sha256(method, of, replace(found, kw=found.kw + 1e-3)) != same
    assert frozen_sha256(method, of, replace(found, days=found.days[1:])) != same


def test_noise_of_the_last_bits_and_the_sign_of_zero_are_not() -> None:
    method, of = method_named("pjm_4_5_saa"), case()
    found = baseline_by(method, of)
    noisy = replace(found, kw=np.nextafter(found.kw, np.inf))
    assert frozen_sha256(method, of, noisy) == frozen_sha256(method, of, found)
    zero = replace(of, history=flat_days([0.0] * 6))
    assert input_sha256(replace(of, history=flat_days([-0.0] * 6))) == input_sha256(zero)
