"""CSV and JSON of statements: every line once, the very digits, and what differs between two versions."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from models.settlement.issued import IssuedStatement, issued
from models.settlement.lines import MARKET, StatementLine
from models.settlement.statement import Statement, difference
from tests.unit.models.settlement.calls import call, rule_named
from tests.unit.vpp.report.statements import AT, corrected, hostile, small_statement, statements
from vpp.report.statement.as_csv import DIFFERENCE_HEAD, STATEMENT_HEAD, difference_csv, statement_csv
from vpp.report.statement.as_json import difference_json, statement_json
from vpp.report.statement.columns import NUMBERS
from vpp.report.statement.csv_text import ROWS
from vpp.report.statement.scope import EVERYTHING, Scope, Sums, by_party, paid_by_aggregators, paid_by_market

SCOPES = [EVERYTHING, Scope.aggregator("sun"), Scope.aggregator("sun", with_users=False), Scope.resource("r1")]


def table(chunks: Iterable[str]) -> list[dict[str, str]]:
    text = "".join(chunks)
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def of(one: IssuedStatement, scope: Scope) -> list[StatementLine]:
    """Which lines are meant, asked of each line and not of the columns."""
    return [line for line in one.statement if scope.holds(line)]


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    """A row of CSV or JSON as what it was of a line."""
    times = (datetime.fromisoformat(row[name]).astimezone(UTC) for name in ("start", "end"))
    names = ("party_kind", "party_id", "payer_id", "line_kind", "rule", "input_sha256")
    return (*(row[name] for name in names), *times, int(row["called_s"]), *(Decimal(row[name]) for name in NUMBERS))


def known(line: StatementLine) -> tuple[Any, ...]:
    kind = "aggregator" if line.party.is_aggregator else "resource"
    rule = f"{line.rule_id}@{line.rule_version}"
    names = (kind, line.party.party_id, line.payer, line.kind.name.lower(), rule, line.input_digest)
    return (*names, line.start, line.end, line.called_s, *(getattr(line, name) for name in NUMBERS))


@given(statements())
def test_csv_and_json_parse_back_to_the_same_lines(one: IssuedStatement) -> None:
    for scope in SCOPES:
        lines = [known(line) for line in of(one, scope)]
        assert [told(row) for row in table(statement_csv(one, scope))] == lines
        assert [told(row) for row in json.loads("".join(statement_json(one, scope)))["lines"]] == lines
    digits = [[f"{getattr(line, name):f}" for name in NUMBERS] for line in one.statement]
    assert [[row[name] for name in NUMBERS] for row in table(statement_csv(one))] == digits


def test_every_line_stands_once_and_users_stand_with_their_aggregator() -> None:
    one = small_statement()
    rows = table(statement_csv(one))
    keys = {(row["party_kind"], row["party_id"], row["start"], row["end"], row["line_kind"]) for row in rows}
    assert len(keys) == len(rows) == len(one.lines)
    parties = {(row["party_kind"], row["party_id"]) for row in table(statement_csv(one, Scope.aggregator("sun")))}
    assert parties == {("aggregator", "sun"), ("resource", "r0"), ("resource", "r1")}
    assert {row["party_id"] for row in table(statement_csv(one, Scope.aggregator("sun", with_users=False)))} == {"sun"}
    assert table(statement_csv(one, Scope.resource("nobody"))) == []


def test_a_resource_and_an_aggregator_of_the_same_name_are_told_apart() -> None:
    one = small_statement(ids=["sun", "r1", "moon", "r3"])
    assert {row["party_kind"] for row in table(statement_csv(one, Scope.resource("sun")))} == {"resource"}
    rows = table(statement_csv(one, Scope.aggregator("moon")))
    assert {(row["party_kind"], row["party_id"]) for row in rows} == {("aggregator", "moon"), ("resource", "moon")}
    assert json.loads("".join(statement_json(one, Scope.resource("moon"))))["contracts"].keys() == {"moon"}


def test_times_bear_the_offset_of_the_market_and_the_repeated_hour_stays_two() -> None:
    one = small_statement()
    assert table(statement_csv(one))[0]["start"] == "2025-07-16T13:00:00+08:00"
    berlin = type(one.inputs.zone)("Europe/Berlin")
    autumn = call([[1.0, 1.0]], [[1.0, 1.0]], start=datetime(2025, 10, 26, 0, tzinfo=UTC))
    inputs = replace(autumn, zone=berlin)
    two = issued(inputs, rule_named("sichuan_market_v1"), {}, AT, "service")
    starts = [row["start"] for row in table(statement_csv(two)) if row["line_kind"] == "energy"]
    assert starts == ["2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00"]


def test_the_chinese_head_has_as_many_columns_and_chinese_words() -> None:
    one = small_statement()
    rows = table(statement_csv(one, language="zh"))
    assert list(rows[0]) == list(STATEMENT_HEAD.values())
    assert len(set(STATEMENT_HEAD.values())) == len(STATEMENT_HEAD)
    assert {row["主体类型"] for row in rows} == {"聚合商", "资源"}
    assert {row["付款方类型"] for row in rows} == {"聚合商", "市场"}
    assert [row["净额（元）"] for row in rows] == [row["net_cny"] for row in table(statement_csv(one))]
    assert len(set(DIFFERENCE_HEAD.values())) == len(DIFFERENCE_HEAD)


def test_no_cell_is_a_formula_and_ids_of_the_door_are_untouched() -> None:
    rows = table(statement_csv(hostile('=HYPERLINK("http://evil","x"),\n')))
    assert all(not row[name].startswith(("=", "+", "-", "@")) for row in rows for name in ("party_id", "event_id"))
    assert rows[0]["party_id"] == '\'=HYPERLINK("http://evil","x"),\n0'
    assert {row["party_id"] for row in table(statement_csv(small_statement()))} >= {"r0", "sun"}


def test_json_says_what_the_statement_rests_on_and_only_what_concerns_its_reader() -> None:
    one = corrected(small_statement())
    facts = json.loads("".join(statement_json(one)))
    assert (facts["event_id"], facts["version"], facts["corrects"], facts["reason"]) == (
        "e1",
        2,
        1,
        "电表补采 read again",
    )
    assert facts["sha256"] == one.sha256
    assert facts["made_at"] == "2025-07-18T10:30:00+08:00"
    assert facts["rule"]["rule"] == "sichuan_market_v1@1"
    assert facts["rule"]["verified"] is False
    assert len(facts["rule"]["doubts"]) == 6
    assert facts["contracts"].keys() == {"sun", "moon"}
    assert facts["contracts"]["sun"]["price_share_fraction"] == "0.75"
    assert json.loads("".join(statement_json(one, Scope.aggregator("sun"))))["contracts"].keys() == {"sun"}
    assert json.loads("".join(statement_json(one, Scope.resource("r2"))))["contracts"].keys() == {"moon"}
    assert json.loads("".join(statement_json(one, Scope.resource("r3"))))["contracts"] == {}


@given(statements())
def test_totals_are_the_sums_of_the_lines(one: IssuedStatement) -> None:
    facts = json.loads("".join(statement_json(one)))
    by_market = [line for line in one.statement if line.payer == MARKET]
    rest = [line for line in one.statement if line.payer != MARKET]
    assert Decimal(facts["totals"]["paid_by_market"]["net_cny"]) == one.statement.market_total_cny()
    for name, lines in (("paid_by_market", by_market), ("paid_by_aggregators", rest)):
        told_sums = facts["totals"][name]
        assert told_sums["lines"] == len(lines)
        for field in ("payment_cny", "capacity_cny", "penalty_cny", "net_cny"):
            assert Decimal(told_sums[field]) == sum((getattr(line, field) for line in lines), Decimal(0))
    for part in (paid_by_market(one.lines), paid_by_aggregators(one.lines), one.lines):
        assert Sums.of(part) == Sums.of_lines(list(part))
    assert {party: Sums.of(lines).net_cny for party, lines in by_party(one.lines)}.items() <= (
        one.lines.totals_cny().items()
    )


@pytest.mark.parametrize("scope", SCOPES)
def test_the_difference_adds_up_to_what_is_due(scope: Scope) -> None:
    old = small_statement()
    new = corrected(old)
    rows = table(difference_csv(old, new, scope))
    due = sum((Decimal(row["due_cny"]) for row in rows), Decimal(0))
    before, after = (sum((line.net_cny for line in of(one, scope)), Decimal(0)) for one in (old, new))
    assert due == after - before != 0 or scope == Scope.resource("r1")
    assert all(
        Decimal(r["after_net_cny"] or 0) - Decimal(r["before_net_cny"] or 0) == Decimal(r["due_cny"]) for r in rows
    )
    facts = json.loads("".join(difference_json(old, new, scope)))
    assert sum((Decimal(each["due_cny"]) for each in facts["differences"]), Decimal(0)) == due
    owed = Decimal(facts["due_from_market_cny"]) + sum(map(Decimal, facts["due_from_aggregators_cny"].values()))
    assert owed == due
    assert (facts["old"]["sha256"], facts["new"]["sha256"]) == (old.sha256, new.sha256)


def test_the_market_owes_the_difference_of_its_totals_also_where_a_user_changed_sides() -> None:
    old = small_statement()
    new = corrected(old, agents=["moon", "sun", "sun", None])
    facts = json.loads("".join(difference_json(old, new)))
    change = new.statement.market_total_cny() - old.statement.market_total_cny()
    assert Decimal(facts["due_from_market_cny"]) == change
    for agent in ("sun", "moon"):
        paid = [
            sum(Sums.of(paid_by_aggregators(Scope.aggregator(agent).of(s.lines))).net_cny for _ in "1")
            for s in (old, new)
        ]
        assert Decimal(facts["due_from_aggregators_cny"][agent]) == paid[1] - paid[0]


def test_lines_that_are_new_or_gone_are_told_with_what_they_were() -> None:
    old = small_statement()
    new = corrected(old, award_kwh=[[100.0] * 3, [50.0] * 3, [100.0, 0.0, 100.0], [100.0] * 3])
    rows = table(difference_csv(old, new))
    gone = [row for row in rows if row["change"] == "gone"]
    assert {(row["party_id"], row["after_net_cny"]) for row in gone} >= {("r2", "")}
    assert len(rows) == len(difference(old.statement, new.statement))
    back = table(difference_csv(new, old, language="zh"))
    assert sum(row["变化"] == "新增" for row in back) == len(gone)


def test_a_long_statement_comes_in_pieces() -> None:
    one = small_statement()
    count = 3 * ROWS + 7
    many = one.lines.with_amounts(one.lines.amounts.take(np.zeros(count, dtype=np.int64)))
    long = replace(one, statement=Statement("e1", 1, (many,)))

    def sizes(chunks: Iterator[str]) -> list[int]:
        return [len(chunk) for chunk in chunks]

    pieces = sizes(statement_csv(long))
    assert len(pieces) == 4
    assert max(pieces) < 2 * pieces[0]
    assert len(sizes(statement_json(long))) == 5
    assert len(table(statement_csv(long))) == count
    assert len(json.loads("".join(statement_json(long)))["lines"]) == count
