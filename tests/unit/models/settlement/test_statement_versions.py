from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.settlement.lines import LineKind, Lines, Party
from models.settlement.settle import settle
from models.settlement.statement import Statement, StatementHistory, difference
from tests.unit.models.settlement.calls import START, call, rule_named

SICHUAN = rule_named("sichuan_market_v1")


def lines_of(*delivered: float) -> Lines:
    return settle(call([[q, 100] for q in delivered], [[100, 100]] * len(delivered)), SICHUAN)


def test_a_correction_adds_a_version_and_leaves_the_old_one_as_it_was() -> None:
    first = Statement("e1", 1, (lines_of(80, 100),))
    before = list(first)
    history = StatementHistory((first,))
    longer = history.with_correction((lines_of(95, 100),), "meter r0 was read again")
    assert history.versions == (first,)
    assert list(longer.versions[0]) == before
    assert (longer.latest.version, longer.latest.corrects, longer.latest.reason) == (2, 1, "meter r0 was read again")
    assert longer.with_correction((lines_of(95),), "again").latest.corrects == 2


def test_the_difference_is_told_line_by_line_with_what_is_still_due() -> None:
    # r0 at 13 h: 80 - 10 · 1.1 = 69 became 95: 26 more; all else is the same
    old = Statement("e1", 1, (lines_of(80, 100),))
    change, other = difference(old, old.corrected((lines_of(95, 100),), "read again"))
    assert change.key == (Party(False, "r0"), START, START + timedelta(hours=1), LineKind.ENERGY)
    assert change.before is not None
    assert change.after is not None
    assert (str(change.before.net_cny), str(change.after.net_cny)) == ("69.00", "95.00")
    assert str(change.due_cny) == "26.00"
    assert change.before.input_digest != change.after.input_digest
    # 14 h rests on other readings now (one digest for all of a resource), and comes to the same
    assert (other.key.party.party_id, other.key.start, str(other.due_cny)) == ("r0", change.key.end, "0.00")


def test_lines_that_are_new_or_gone_are_differences_too() -> None:
    old = Statement("e1", 1, (lines_of(100, 100),))
    new = old.corrected((lines_of(100, 100, 100),), "r2 was forgotten")
    added = difference(old, new)
    assert [(change.key.party.party_id, change.before, str(change.due_cny)) for change in added] == [
        ("r2", None, "100.00"),
        ("r2", None, "100.00"),
    ]
    gone = difference(new, new.corrected((lines_of(100, 100),), "r2 was withdrawn"))
    assert [str(change.due_cny) for change in gone] == ["-100.00", "-100.00"]
    assert difference(old, old.corrected((lines_of(100, 100),), "looked at again")) == ()


@given(st.lists(st.integers(-50, 200), min_size=2, max_size=5), st.lists(st.integers(-50, 200), min_size=2, max_size=5))
def test_differences_sum_to_the_difference_of_the_totals(one: list[int], other: list[int]) -> None:
    old = Statement("e1", 1, (lines_of(*one),))
    new = old.corrected((lines_of(*other),), "disputed")
    due = sum((change.due_cny for change in difference(old, new)), Decimal(0))
    assert due == new.market_total_cny() - old.market_total_cny()


@pytest.mark.parametrize(
    ("version", "corrects", "reason"),
    [(1, 0, ""), (1, None, "because"), (2, None, "x"), (2, 2, "x"), (3, 1, "x"), (2, 1, " "), (0, None, "")],
)
def test_a_chain_of_versions_has_no_holes_and_says_why(version: int, corrects: int | None, reason: str) -> None:
    with pytest.raises(InputError, match=r"corrects|reason"):
        Statement("e1", version, (), corrects, reason)


def test_a_history_is_of_one_event_and_starts_at_the_first_version() -> None:
    first = Statement("e1", 1, ())
    second = first.corrected((), "why not")
    assert StatementHistory((first, second)).latest is second
    for versions in ((second,), (first, first), (first, Statement("e2", 1, ())), ()):
        with pytest.raises(InputError, match="of one event"):
            StatementHistory(versions)
    with pytest.raises(InputError, match="must be of the same event"):
        difference(first, Statement("e2", 1, ()))


def test_a_party_finds_its_lines_and_nobody_elses() -> None:
    statement = Statement("e1", 1, (settle(call([[80], [100]], [[100], [100]], agents=["a", None]), SICHUAN),))
    assert {line.party for line in statement.of("r1")} == {Party(False, "r1")}
    assert [line.kind for line in statement.of("r0")] == [LineKind.ENERGY, LineKind.SHARE]
    assert [line.kind for line in statement.of("a", is_aggregator=True)] == [LineKind.ENERGY, LineKind.NETTED]
    assert statement.of("a") == ()
