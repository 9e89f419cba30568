"""How each number follows: the steps that a reader is shown lead to the very numbers of the line."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given

from models.settlement.issued import IssuedStatement
from models.settlement.lines import LineKind
from tests.unit.vpp.report.statements import small_statement, statements
from vpp.report.statement.call_facts import Call
from vpp.report.statement.working import steps


@given(statements())
def test_every_step_of_every_line_follows_under_every_rule(one: IssuedStatement) -> None:
    call = Call(one)
    for line in one.statement:
        made = steps(call, line)
        assert [step for step in made if not step.follows] == []
        assert made[-1].result == line.net_cny


def test_the_steps_of_a_users_hour_by_hand() -> None:
    one = small_statement()
    call = Call(one)
    line = one.lines.of("r1")[0]
    # 10 000 - 9 970 = 30 of 50; under 110 %, so as delivered; 0.8 + 0.75 (1.35 - 0.8) = 1.2125; 30 · 1.2125 = 36.375
    told = [(step.symbol, step.sum_text, str(step.result)) for step in steps(call, line)]
    assert told == [
        ("q", "b − m = 10,000.000 − 9,970.000", "30.000"),
        ("e", "q = 30.000  (q < 110 % B, B = 50.000)", "30.000"),
        ("pₘ", "1.35", "1.350000"),
        ("p", "f + α × max(pₘ − f, 0) = 0.8 + 0.75 × max(1.350000 − 0.8, 0)", "1.212500"),
        ("e·p", "e × p = 30.000 × 1.212500", "36.38"),
        ("=", "36.38 + 0.00 − 0.00", "36.38"),
    ]


def test_a_share_of_a_penalty_names_the_sums_that_it_is_a_share_of() -> None:
    one = small_statement()
    call = Call(one)
    (line,) = (line for line in one.lines.of("r1") if line.kind is LineKind.SHARE)
    last, net = steps(call, line)[-2:]
    owed = sum(each.penalty_cny for each in one.lines.of("sun", is_aggregator=True))
    assert f"0.6 × {owed} × " in last.sum_text
    assert net.result == -line.penalty_cny < 0


def test_a_line_that_was_changed_does_not_follow() -> None:
    one = small_statement()
    line = one.lines.of("r1")[0]
    for name in ("delivered_kwh", "effective_kwh", "price_cny_per_kwh", "payment_cny"):
        forged = replace(line, **{name: getattr(line, name) + Decimal("0.01")})
        assert not all(step.follows for step in steps(Call(one), forged)), name
