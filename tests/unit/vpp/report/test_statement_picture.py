"""The picture of a statement: its columns are as high as their numbers."""

import itertools
import re
from decimal import Decimal

import pytest

from tests.unit.vpp.report.statements import small_statement
from vpp.report.statement.parts import hours_picture
from vpp.report.statement.picture import Column, picture
from vpp.report.words import Speaker


def column(award: str, delivered: str, effective: str | None = None, label: str = "13:00–14:00") -> Column:
    return Column(label, Decimal(award), Decimal(delivered), Decimal(effective or delivered))


def attributes(svg: str, name: str) -> list[dict[str, float]]:
    """The marks of one class inside columns; the legend's are left out."""
    inside = "".join(re.findall(r'<g class="column".*?</g>', svg))
    found = re.findall(rf'<(?:rect|line) class="{name}"([^>]*)>', inside)
    return [{key: float(value) for key, value in re.findall(r'([\w-]+)="(-?[\d.]+)"', each)} for each in found]


def test_heights_are_proportional_and_the_band_lies_around_the_award() -> None:
    svg = picture([column("100", "100"), column("100", "50"), column("50", "0")])
    delivered, band, award = (attributes(svg, name) for name in ("delivered", "band", "award"))
    full = delivered[0]["height"]
    assert delivered[1]["height"] == pytest.approx(full / 2, abs=0.02)
    assert delivered[2]["height"] == 0
    assert award[0]["y1"] == delivered[0]["y"]
    assert band[0]["height"] == pytest.approx(0.2 * full, abs=0.03)
    assert band[0]["y"] + band[0]["height"] / 2 == pytest.approx(award[0]["y1"], abs=0.02)
    assert band[1] == {**band[0], "x": band[1]["x"]}


def test_a_load_that_went_the_wrong_way_hangs_below_the_line() -> None:
    svg = picture([column("100", "-40"), column("100", "100")])
    down, up = attributes(svg, "delivered")
    assert down["y"] == pytest.approx(up["y"] + up["height"], abs=0.02)
    assert down["height"] == pytest.approx(0.4 * up["height"], abs=0.03)
    assert "−40.0 %" in svg


def test_it_shows_the_numbers_of_the_lines() -> None:
    one = small_statement()
    lines = one.lines.of("sun", is_aggregator=True)
    svg = hours_picture(Speaker(one.inputs.zone, ""), lines, 960)
    energy = [line for line in lines if line.kind.name == "ENERGY"]
    assert re.findall(r'data-delivered-kwh="([\d.]+)"', svg) == [f"{line.delivered_kwh:f}" for line in energy]
    assert re.findall(r'data-award-kwh="([\d.]+)"', svg) == [f"{line.award_kwh:f}" for line in energy]
    assert "13:00–14:00" in svg
    assert "80.1 % ▼" in svg  # (90.123 + 30) / 150
    assert "100.0 % ✓" in svg


@pytest.mark.parametrize(("kwh", "unit"), [("900", "kWh"), ("50000", "MWh"), ("5000000", "GWh")])
def test_the_unit_suits_the_numbers(kwh: str, unit: str) -> None:
    assert f"{unit}</text>" in picture([column(kwh, kwh)])


@pytest.mark.parametrize("count", [1, 4, 12, 24])
def test_columns_lie_inside_and_do_not_touch(count: int) -> None:
    bars = attributes(picture([column("100", "120")] * count, 720), "band")
    assert len(bars) == count
    assert bars[0]["x"] >= 78
    assert bars[-1]["x"] + bars[-1]["width"] <= 720
    assert all(a["x"] + a["width"] < b["x"] for a, b in itertools.pairwise(bars))


def test_nothing_is_drawn_of_nothing_and_zero_is_drawn() -> None:
    assert picture([]) == ""
    assert "<svg" in picture([column("0", "0")])
    assert "&lt;b&gt;" in picture([column("1", "1", label="<b>")])


def test_where_columns_are_narrow_their_words_give_way() -> None:
    def ratios(count: int) -> list[str]:
        return re.findall(r'class="ratio"[^>]*>([^<]*)<', picture([column("100", "120")] * count, 720))

    assert ratios(4) == ["120.0 % ▲"] * 4
    assert ratios(12) == ["120.0 %", "▲"] * 12
    assert ratios(24) == ["▲"] * 24
