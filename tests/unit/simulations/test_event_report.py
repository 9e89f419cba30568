"""The fault matrix as a table and as a picture."""

from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree as ET

from rich.console import Console

from simulations.event_cases import MATRIX, NOTHING, judged
from simulations.event_days import EventDayScore, score
from simulations.event_report import plot_svg, table
from tests.unit.vpp.result_days import day_result

SVG = "{http://www.w3.org/2000/svg}"


def scores() -> list[EventDayScore]:
    good = score(day_result(), NOTHING, (0, 1), ())
    weak = score(day_result(weak_hour=True), judged(0.2), (0, 1), ("a sequence number was used twice",), [True, False])
    return [good, weak]


def shown(cases: tuple[object, ...], found: list[EventDayScore]) -> str:
    out = StringIO()
    Console(file=out, width=200, color_system=None).print(table(cases, found))  # type: ignore[arg-type]
    return out.getvalue()


def test_the_table_says_of_every_case_what_happened() -> None:
    text = shown((NOTHING, judged(0.2)), scores())
    first, second = (line for line in text.splitlines() if "无故障" in line or "20% 失联" in line)
    assert first.split()[-5:] == [f"{scores()[0].accuracy_true_mean:.1%}", "100%", "0", "(+0)", "0"]
    assert second.split()[-4:] == ["100%", "1", "(+1)", "1"]
    assert "66.7%" in second  # two of three hours in band
    assert all(case.en in shown(MATRIX, []) for case in MATRIX), "a case without days is shown all the same"


def test_every_hour_is_a_point_and_what_is_far_off_stands_at_the_edge() -> None:
    found = [replace(each, ratios=(1.0, 0.2, 9.0), true_ratios=(1.0, 1.05, 0.95)) for each in scores()]
    root = ET.fromstring(plot_svg((NOTHING, judged(0.2)), found, "two cores & more"))
    points = [each for each in root.iter(f"{SVG}circle") if each.get("r") == "3.2"]
    assert len(points) == 2 * 6
    across = sorted({float(str(each.get("cx"))) for each in points})
    width = float(str(root.get("viewBox")).split()[2])
    assert across[0] >= 300
    assert across[-1] <= width - 40
    words = "".join(each.text or "" for each in root.iter(f"{SVG}text"))
    assert "无故障" in words
    assert "two cores & more" in words
