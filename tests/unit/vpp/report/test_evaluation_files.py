"""The evaluation of an event as CSV, JSON and the head of a report."""

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.settlement.performance import EventPerformance, HourResult
from tests.unit.models.settlement.calls import HOUR, SHANGHAI, START
from tests.unit.vpp.report.statements import record
from vpp.measurement import evaluation as kept
from vpp.report.statement.evaluation import HEAD, Evaluation, evaluation_csv, evaluation_json
from vpp.report.statement.head import head


def of(**changes: Any) -> Evaluation:
    found = Evaluation.of(record(**changes), SHANGHAI)
    assert found
    return found


def rows(one: Evaluation) -> list[dict[str, str]]:
    text = "".join(evaluation_csv(one))
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


def test_an_event_that_was_not_judged_has_no_evaluation() -> None:
    assert Evaluation.of(record().model_copy(update={"evaluation": None}), SHANGHAI) is None
    assert head(None) == ""


def test_hours_stand_with_their_ratio_and_whether_they_lie_in_the_band() -> None:
    facts = json.loads("".join(evaluation_json(of())))
    assert [(h["start"], h["ratio"], h["in_band"]) for h in facts["hours"]] == [
        ("2025-07-16T13:00:00+08:00", 0.9, True),
        ("2025-07-16T14:00:00+08:00", 0.7123456789, False),
        ("2025-07-16T15:00:00+08:00", None, None),
    ]
    assert facts["rebound"][1] == {
        "start": "2025-07-16T17:00:00+08:00",
        "end": "2025-07-16T18:00:00+08:00",
        "rebound_kw": -2.25,
    }
    assert facts["by_aggregator"]["moon"][2] == {
        "start": "2025-07-16T15:00:00+08:00",
        "end": "2025-07-16T16:00:00+08:00",
        "ordered_kw": None,
        "delivered_kw": None,
        "ratio": 1.3,
        "in_band": False,
    }


@given(st.lists(st.none() | st.floats(-2, 3), min_size=3, max_size=3), st.floats(0, 1e7))
def test_csv_has_every_figure_with_all_its_digits(ratios: list[float | None], ordered_kw: float) -> None:
    one = of(ratio_by_hour=ratios, ordered_kw=ordered_kw)
    found = rows(one)
    assert list(found[0]) == list(HEAD)
    assert [row["row"] for row in found] == ["window", *["hour"] * 3, *["aggregator_hour"] * 6, *["rebound"] * 2]
    assert float(found[0]["ordered_kw"]) == ordered_kw
    assert [float(row["ratio"]) if row["ratio"] else None for row in found[1:4]] == ratios
    assert (found[0]["missing_readings"], found[0]["credited_kw"]) == ("3", "")


def test_an_aggregator_sees_its_own_hours_and_nothing_of_the_city() -> None:
    mine = of().narrowed("sun")
    assert {row["aggregator_id"] for row in rows(mine)} == {"sun"}
    facts = json.loads("".join(evaluation_json(mine)))
    assert "ordered_kw" not in facts
    assert facts["by_aggregator"].keys() == {"sun"}
    assert "moon" not in head(mine)
    assert "301" not in head(mine)


def test_with_the_performance_at_hand_hours_have_their_power() -> None:
    hours = tuple(HourResult(START + k * HOUR, START + (k + 1) * HOUR, 100.0, 90.0 + k) for k in range(3))
    performance = EventPerformance("e1", hours, 91.0, 100.0, {"sun": hours}, (1.0,), 0, 0)
    one = Evaluation.of(record().model_copy(update={"evaluation": kept(performance)}), SHANGHAI, performance)
    assert one
    assert [(hour.ordered_kw, hour.delivered_kw, hour.ratio) for hour in one.hours] == [
        (100.0, 90.0, 0.9),
        (100.0, 91.0, 0.91),
        (100.0, 92.0, 0.92),
    ]
    assert rows(one)[1]["delivered_kw"] == "90.0"


def test_the_head_counts_hours_in_the_band_in_both_languages() -> None:
    html = head(of())
    assert "2 个事件小时中有 1 个在指令的 90–110 % 之内" in html
    assert "1 of 2 event hours lie within 90–110 % of the order" in html
    assert re.search(r"90\.0 % <b>✓", html)
    assert re.search(r"71\.2 % <b>▼", html)


@pytest.mark.parametrize("hours", [1, 9, 24])
def test_a_long_event_shows_every_hour_once(hours: int) -> None:
    base = record(ratio_by_hour=[1.0] * hours, by_aggregator={})
    event = base.event.model_copy(update={"end": START + hours * HOUR})
    one = Evaluation.of(base.model_copy(update={"event": event}), SHANGHAI)
    assert one
    assert head(one).count("<b>✓</b>") == hours
