import json
import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.vpp.result_days import day_result
from vpp.report.result_folder import DayResult, Labels, Text, write_result
from vpp.report.words import Speaker, power
from vpp.report.write import page, write_report

EVIL = "<script>alert('x')</script>&\"'"


class Outline(HTMLParser):
    """What a page refers to, and its visible text (scripts and styles left out)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.scripts = 0
        self.text: list[str] = []
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.scripts += tag == "script"
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text.append(data)


def figures_of(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_the_report_is_one_file_that_refers_to_nothing_outside(tmp_path: Path) -> None:
    write_result(tmp_path, day_result())
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    html = path.read_text(encoding="utf-8")
    outline = Outline(html)
    assert set(outline.references) <= {"data:,"}
    assert html.count("plotly.js v") == 1
    assert "default-src 'none'" in html


def test_every_section_speaks_both_languages_and_says_simulated_with_its_scale() -> None:
    html = page(day_result())
    text = " ".join(Outline(html).text)
    for words in (
        "结论",
        "Did it deliver?",
        "大事记",
        "Journal",
        "来源与假设",
        "How to reproduce",
        "仿真",
        "SIMULATED",
    ):
        assert words in text
    sections = re.findall(r"<section.*?</section>", html, re.DOTALL)
    assert len(sections) == 12
    for section in sections:
        assert 'lang="zh"' in section
        assert 'lang="en"' in section
        assert "仿真 SIMULATED" in section
        assert "×0.01" in section


def test_every_picture_carries_the_scale_and_the_word_simulated() -> None:
    pictures = figures_of(page(day_result()))
    assert len(pictures) == 8
    for name, picture in pictures.items():
        notes = " ".join(note["text"] for note in picture["layout"]["annotations"])
        assert "仿真 SIMULATED" in notes, name
        assert "×0.01" in notes, name
        assert picture["data"], name


def test_the_verdict_counts_the_hours_in_the_band() -> None:
    def headline(result: DayResult) -> str:
        return " ".join(Outline(page(result).split("</section>")[0]).text)

    good = headline(day_result())
    assert "all 3 event hours lie within 90–110 %" in good
    assert "below 90 %" not in good
    weak = headline(day_result(weak_hour=True))
    assert "2 of 3 event hours" in weak
    assert "below 90 %" in weak


def test_a_real_result_is_not_called_simulated_and_a_called_day_is_labelled() -> None:
    real = page(day_result(simulated=False, replayed=True))
    assert "SIMULATED" not in real
    assert "Demand response was really called on this day" in real
    assert "当日实际启动过需求响应" in real
    assert "Demand response was really called" not in page(day_result())


def test_nothing_that_is_stored_can_become_markup() -> None:
    result = day_result()
    summary = result.summary.model_copy(
        update={
            "scenario_title_zh": EVIL,
            "scenario_title_en": EVIL,
            "scenario": EVIL,
            "reproduce": EVIL,
            "repairs": (EVIL,),
            "labels": Labels(assumptions=(Text(zh=EVIL, en=EVIL),)),
            "versions": {EVIL: EVIL},
        }
    )
    journal = result.journal.assign(who=EVIL, what_zh=EVIL, what_en=EVIL)
    aggregators = result.aggregators.assign(name_zh=EVIL, name_en=EVIL)
    kinds = result.kinds.assign(kind=result.kinds["kind"].replace("pv", EVIL))
    evil = page(DayResult(summary, result.city, result.delivery, kinds, aggregators, result.devices, journal))
    assert Outline(evil).scripts == Outline(page(result)).scripts
    assert "<script>alert" not in evil
    assert "<script>alert" not in json.dumps(figures_of(evil))


def test_hours_are_those_of_the_market_zone() -> None:
    result = day_result()
    assert "13:00–14:00" in page(result)
    elsewhere = result.summary.model_copy(update={"time_zone": "America/New_York"})
    assert "01:00–02:00" in page(replace(result, summary=elsewhere))


def test_the_repeated_hour_of_autumn_shows_its_offset() -> None:
    summary = day_result().summary.model_copy(update={"time_zone": "America/New_York"})
    speaker = Speaker.of(summary)
    first = result_hour("2025-11-02T05:30:00+00:00")
    second = result_hour("2025-11-02T06:30:00+00:00")
    assert (speaker.clock(first), speaker.clock(second)) == ("01:30 (EDT)", "01:30 (EST)")


def result_hour(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("kw", "shown"), [(0.0, "0.0 kW"), (999.0, "999.0 kW"), (1234.0, "1.23 MW"), (-2.5e6, "-2.50 GW"), (None, "–")]
)
def test_powers_come_in_the_unit_that_suits_them(kw: float | None, shown: str) -> None:
    assert power(kw) == shown


def test_days_without_events_or_limits_or_truth_still_make_a_report() -> None:
    result = day_result()
    summary = result.summary.model_copy(update={"events": (), "rebound_kw_by_hour": ()})
    bare = DayResult(
        summary,
        result.city.assign(limit_kw=float("inf"), forecast_kw=float("nan")),
        result.delivery.iloc[:0],
        result.kinds.assign(true_without_kw=float("nan")),
        result.aggregators.iloc[:0],
        result.devices,
        result.journal.iloc[:0],
    )
    assert "Nothing was ordered on this day" in page(bare)
    one = replace(result, delivery=result.delivery.assign(true_delivered_kw=float("nan")))
    assert "truly delivered" not in json.dumps(figures_of(page(one))["fig-delivery-0"])
