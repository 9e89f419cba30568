"""The printed reports: totals equal their lines, nothing is lost, both languages, and nobody's id is code."""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from models.settlement.issued import IssuedStatement, issued
from models.settlement.lines import MARKET
from tests.unit.models.settlement.calls import SHANGHAI, rule_named
from tests.unit.vpp.report.statements import AT, corrected, hostile, record, small_call, small_statement
from vpp.report.statement import aggregator, market
from vpp.report.statement.aggregator import aggregator_report
from vpp.report.statement.evaluation import Evaluation
from vpp.report.statement.frame import css_text
from vpp.report.statement.market import market_report
from vpp.report.statement.numbers import percent_of
from vpp.report.statement.resource import resource_report

Report = Callable[[IssuedStatement], Iterator[str]]
REPORTS: dict[str, Report] = {
    "aggregator": lambda one: aggregator_report(one, "sun"),
    "resource": lambda one: resource_report(one, "r1"),
    "direct": lambda one: resource_report(one, "r3"),
    "market": market_report,
}
EVIL = "</style><script>alert('x')</script>&\"\\'"


class Sheets(HTMLParser):
    """The rows of a page by their mark, ``foot`` the totals; what it refers to; how many scripts it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.references: list[str] = []
        self.scripts = 0
        self._mark, self._foot = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.scripts += tag == "script"
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        self._foot = tag == "tfoot" or (self._foot and tag != "table")
        if tag == "tr":
            self._mark = "foot" if self._foot else found.get("class") or ""
            self.rows.setdefault(self._mark, []).append([])
        elif tag == "td":
            self.rows[self._mark][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._mark = "" if tag == "tr" else self._mark

    def handle_data(self, data: str) -> None:
        if self._mark and self.rows[self._mark][-1]:
            self.rows[self._mark][-1][-1] += data


def number(cell: str) -> Decimal:
    return Decimal(cell.replace(",", "").replace("−", "-").replace("–", "0"))


def page(chunks: Iterator[str]) -> str:
    return "".join(chunks)


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_is_one_file_without_a_request_that_says_its_version_and_how_sure_it_is(report: str) -> None:
    one = small_statement()
    html = page(REPORTS[report](one))
    found = Sheets(html)
    assert set(found.references) <= {"data:,"}
    assert found.scripts == 1
    assert "default-src 'none'" in html
    assert html.count(one.sha256) == 2  # at the end of the page, and at the foot of every printed one
    assert 'counter(page) " / " counter(pages)' in html
    assert "verified: false" in html
    assert all(doubt.split("'")[0] in html for doubt in one.rule.doubts)
    for words in ("签字", "Signatures", "所用规则", "The rule that was used", "未与官方原文核对", "CNY"):
        assert words in html
    for part in re.findall(r"<section.*?</section>", html, re.DOTALL):
        assert 'lang="zh"' in part
        assert 'lang="en"' in part
    assert "更正版" not in html
    assert "✗" not in html


def test_an_aggregators_lines_stand_once_each_and_its_totals_are_their_sums() -> None:
    one = small_statement()
    found = Sheets(page(aggregator_report(one, "sun")))
    own, users = one.lines.of("sun", is_aggregator=True), [line for line in one.lines if line.payer == "sun"]
    nets = sorted(number(row[-1]) for row in found.rows["line"])
    assert nets == sorted(line.net_cny for line in (*own, *users))
    assert sum(number(row[-1]) for row in found.rows["user"]) == sum(line.net_cny for line in users)
    totals = {number(row[-1]) for row in found.rows["foot"]}
    energy = sum(line.net_cny for line in own if line.kind.name == "ENERGY")
    netted = sum(line.net_cny for line in own if line.kind.name == "NETTED")
    assert totals == {energy, netted, sum(line.net_cny for line in users)}
    text = page(aggregator_report(one, "sun"))
    assert f"<u>{sum(line.net_cny for line in own):,}</u>".replace("-", "−") in text
    assert f"<u>{one.lines.margins_cny()['sun']:,}</u>".replace("-", "−") in text


@pytest.mark.parametrize("name", ["r0", "r1", "r2", "r3"])
def test_a_resources_lines_stand_once_each_with_their_working(name: str) -> None:
    one = small_statement()
    html = page(resource_report(one, name))
    found, lines = Sheets(html), one.lines.of(name)
    assert sorted(number(row[-1]) for row in found.rows["line"]) == sorted(line.net_cny for line in lines)
    assert html.count('<div class="worked">') == len(lines)
    assert lines[0].input_digest in html
    others = {"r0", "r1", "r2", "r3"} - {name}
    assert not any(f"<code>{other}</code>" in html for other in others)


def test_the_market_pays_what_its_report_says() -> None:
    one = small_statement()
    html = page(market_report(one))
    found = Sheets(html)
    paid = [*found.rows["aggregator"], *found.rows["direct"]]
    assert [row[0] for row in paid] == ["moon", "sun", "r3"]
    nets = [number(row[-3]) for row in found.rows["aggregator"]] + [number(row[-1]) for row in found.rows["direct"]]
    assert sum(nets) == one.statement.market_total_cny()
    assert {row[0]: number(row[-1]) for row in found.rows["aggregator"]} == one.lines.margins_cny()
    assert f"<u>{one.statement.market_total_cny():,}</u>" in html
    payments = sum(line.payment_cny for line in one.statement if line.payer == MARKET)
    assert any(number(row[5]) == payments for row in found.rows["foot"] if len(row) == 8)
    assert "Gini" in html
    assert "基尼" in html


def test_a_corrected_version_says_so_and_why_and_what_is_due() -> None:
    old = small_statement()
    new = corrected(old)
    html = page(market_report(new, previous=old))
    assert "更正版：第 2 版取代第 1 版。原因：" in html
    assert "version 2 takes the place of version 1" in html
    assert "<q>电表补采 read again</q>" in html
    dues = [number(row[1]) for row in Sheets(html).rows["due"]]
    assert dues[0] == new.statement.market_total_cny() - old.statement.market_total_cny()
    (mine,) = Sheets(page(resource_report(new, "r0", previous=old))).rows["due"]
    before, after = (sum(line.net_cny for line in one.lines.of("r0")) for one in (old, new))
    assert number(mine[1]) == after - before


def test_hostile_names_are_text_everywhere() -> None:
    one = hostile(EVIL)
    clean = Sheets(page(market_report(small_statement())))
    for chunks in (
        market_report(one, stamp=EVIL),
        aggregator_report(one, EVIL, stamp=EVIL),
        resource_report(one, f"{EVIL}0", stamp=EVIL),
        resource_report(one, f"{EVIL}nobody"),
    ):
        html = page(chunks)
        assert Sheets(html).scripts == clean.scripts
        assert "alert('x')</script>" not in html
        assert html.count("</style>") == 1
        assert "&lt;/style&gt;&lt;script&gt;" in html


def test_text_cannot_leave_a_css_string() -> None:
    assert css_text('a"b\\</style>\n中 1') == "a\\22 b\\5c \\3c /style\\3e \\a 中 1"


def test_an_aggregator_reads_nothing_of_others() -> None:
    evaluation = Evaluation.of(record(), SHANGHAI)
    html = page(aggregator_report(small_statement(), "sun", evaluation=evaluation))
    assert "50.0 %" in html
    assert "moon" not in html
    assert "r2" not in html
    assert "moon" in page(market_report(small_statement(), evaluation=evaluation))


def test_a_resource_without_lines_and_an_unknown_aggregator_have_a_page_that_says_so() -> None:
    assert "No line of this statement" in page(resource_report(small_statement(), "nobody"))
    html = page(aggregator_report(small_statement(), "nobody"))
    assert "0 / 0" in html
    assert "line" not in Sheets(html).rows


def test_a_page_that_would_be_too_long_shows_sums_and_points_to_the_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    one = small_statement()
    whole = Sheets(page(aggregator_report(one, "sun")))
    monkeypatch.setattr(aggregator, "MOST_ROWS", 3)
    monkeypatch.setattr(market, "MOST_ROWS", 0)
    html = page(aggregator_report(one, "sun"))
    assert "the CSV has them one by one" in html
    assert Sheets(html).rows["foot"][-1][-1] == whole.rows["foot"][-1][-1]
    assert "direct" not in Sheets(page(market_report(one))).rows


@pytest.mark.parametrize("rule_id", ["zhejiang", "tier_80_120", "guangzhou", "jiangsu", "generic_bands"])
def test_every_rule_can_be_told(rule_id: str) -> None:
    price = "2.5" if rule_id == "jiangsu" else ["1", "2", "3"]
    one = issued(small_call(price=price), rule_named(rule_id), {}, AT, "service")
    for report in REPORTS.values():
        html = page(report(one))
        assert "✗" not in html
        assert rule_id in html


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ("0.9", "90.0 %"),
        ("0.89999", "89.999 %"),
        ("1.10001", "110.001 %"),
        ("1.1", "110.0 %"),
        ("-0.05", "−5.0 %"),
        ("12.3456", "1,234.6 %"),
    ],
)
def test_a_ratio_is_never_shown_on_the_wrong_side_of_an_edge(ratio: str, text: str) -> None:
    assert percent_of(Decimal(ratio)) == text
