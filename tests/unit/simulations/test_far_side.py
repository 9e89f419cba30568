"""What the far side knows of a day: each thing that must never happen is found when it happens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from simulations.far_side import UNDER_WAY, Watch, broken_orders, broken_readings, said_readings
from simulations.wire import codec
from simulations.wire.record import GatewayRecord, Told

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def text(name: str, minutes: float, power_kw: float, sequence: int) -> str:
    return codec.to_json(codec.reading(name, START + minutes * MINUTE, power_kw, sequence))


RECORD = GatewayRecord(
    said=[
        (START + 5 * MINUTE, [text("a", 5, 1.0, 1), text("b", 5, 2.0, 1)]),
        (START + 10 * MINUTE, [text("a", 10, 1.5, 2), text("b", 22, 2.5, 2)]),
        (START + 55 * MINUTE, [text("a", 55, 3.0, 3)]),
    ]
)
SAID = said_readings([RECORD], START + 60 * MINUTE - UNDER_WAY)


def kept() -> pd.DataFrame:
    """Everything that is due, as it was said."""
    return SAID[SAID["is_due"]].drop(columns="is_due").reset_index(drop=True)


def test_a_platform_must_have_what_was_said_in_time_by_clocks_that_are_not_ahead() -> None:
    assert SAID["is_due"].tolist() == [True, True, True, False, False]
    assert broken_readings(SAID, kept()) == ()
    assert broken_readings(SAID, SAID.drop(columns="is_due")) == (), "what need not be there may be there"


def test_a_reading_that_is_missing_is_lost() -> None:
    assert broken_readings(SAID, kept().drop(index=1)) == ("readings: 1 (first b at 05:05:00) lost",)
    assert broken_readings(SAID, kept().iloc[:0]) == ("readings: 3 (first a at 05:05:00) lost",)


def test_a_reading_that_is_there_twice_is_found_by_its_number_and_by_its_time() -> None:
    one = kept().iloc[[2]]
    (found,) = broken_readings(SAID, pd.concat([kept(), one], ignore_index=True))
    assert found == "readings: 1 (first a at 05:10:00) stored twice"
    moved = pd.concat([kept(), one.assign(measured_at=one["measured_at"] + MINUTE)], ignore_index=True)
    assert "readings: 1 (first a at 05:11:00) stored twice" in broken_readings(SAID, moved)
    renumbered = pd.concat([kept(), one.assign(sequence=9)], ignore_index=True)
    assert broken_readings(SAID, renumbered) == (
        "readings: 1 (first a at 05:10:00) stored twice",
        "readings: 1 (first a at 05:10:00) never said",
    )


@pytest.mark.parametrize(("column", "value"), [("power_kw", 7.0), ("measured_at", START + 7 * MINUTE)])
def test_a_reading_that_was_changed_on_the_way_is_found(column: str, value: object) -> None:
    changed = kept()
    changed[column] = [value, *changed[column].tolist()[1:]]
    assert broken_readings(SAID, changed) == ("readings: 1 (first a at 05:05:00) not as they were said",)


FIRST = Told(START, "a", "c-1", 1, START, START + 10 * MINUTE, 5.0)
SECOND = Told(START + 5 * MINUTE, "a", "c-2", 2, START + 5 * MINUTE, START + 15 * MINUTE, 5.0)


def test_newer_orders_in_the_place_of_older_ones_are_as_it_should_be() -> None:
    assert broken_orders([FIRST, SECOND, replace(FIRST, resource_id="b"), replace(SECOND, resource_id="b")]) == ()


def test_an_order_that_is_carried_out_twice_is_found() -> None:
    assert broken_orders([FIRST, SECOND, replace(SECOND, at=SECOND.at + MINUTE)]) == (
        "sequence 2 at a carried out twice",
    )


def test_an_order_after_its_time_is_found() -> None:
    assert broken_orders([replace(FIRST, at=FIRST.valid_until)]) == ("sequence 1 at a carried out after its time",)
    assert broken_orders([replace(FIRST, at=FIRST.valid_until - MINUTE)]) == ()


def test_an_older_order_in_the_place_of_a_newer_one_is_found_and_one_before_it_is_not() -> None:
    late = replace(FIRST, at=START + 6 * MINUTE)
    assert broken_orders([SECOND, late]) == ("sequence 1 at a in the place of 2",)
    early = replace(SECOND, at=START, valid_from=START + 8 * MINUTE)
    until_then = replace(late, valid_until=early.valid_from)
    assert broken_orders([early, until_then]) == ()
    assert broken_orders([early, replace(late, resource_id="b")]) == ()
    over = replace(SECOND, at=START, valid_until=START + 6 * MINUTE)
    assert broken_orders([over, late]) == (), "the newer one is over"


def test_kills_are_counted_and_what_was_made_around_them_may_not_have_left() -> None:
    watch = Watch({}, START)
    assert set(watch.counts().values()) == {0}
    for hit in ("broker", "service", "delivery"):
        watch.was_away(hit, START + 20 * MINUTE, START + 22 * MINUTE)
    counts = watch.counts()
    assert (counts["broker_kills"], counts["service_kills"], counts["kills_in_delivery"]) == (1, 2, 1)
    assert watch.away == 3 * [(START + 19 * MINUTE, START + 32 * MINUTE)]
