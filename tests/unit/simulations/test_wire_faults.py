"""The dice of the wire: shares, spans and delays; a seed repeats."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from simulations.wire_faults import AT_ONCE, HELD_LEAST_S, HELD_MOST_S, WireFaults, WireShares

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
END = START + timedelta(hours=1)
SPAN = (START, END)
Fate = tuple[timedelta, ...]
MANY = range(1, 1501)


def wire(**shares: float) -> WireFaults:
    return WireFaults("industry", 7, [SPAN], WireShares(**shares))


def test_each_fault_takes_its_share_and_leaves_the_others_alone() -> None:
    for way in ("command", "up"):
        for fate, share in (("lost", 0.2), ("held", 0.3), ("doubled", 0.1)):
            faulty = wire(**{f"{fate}_{way}": share})
            hit = faulty.down if way == "command" else faulty.up
            spared = faulty.up if way == "command" else faulty.down
            found = [hit(number, START) for number in MANY]
            wrong = {
                "lost": [not each for each in found],
                "held": [len(each) == 1 and each[0] > AT_ONCE for each in found],
                "doubled": [each == (AT_ONCE, AT_ONCE) for each in found],
            }
            assert np.mean(wrong.pop(fate)) == pytest.approx(share, abs=0.035)
            assert not np.any(list(wrong.values()))
            assert {spared(number, START) for number in MANY} == {(AT_ONCE,)}
    acks = wire(lost_ack=0.2)
    assert np.mean([acks.loses_ack(number, START) for number in MANY]) == pytest.approx(0.2, abs=0.035)
    assert not any(acks.loses_receipt(number, START) for number in MANY)
    receipts = wire(lost_receipt=0.2)
    assert np.mean([receipts.loses_receipt(number, START) for number in MANY]) == pytest.approx(0.2, abs=0.035)
    assert not any(receipts.loses_ack(number, START) for number in MANY)


def test_what_is_held_back_comes_20_to_420_seconds_late_and_each_copy_by_itself() -> None:
    faulty = wire(held_command=0.5, doubled_command=1.0)
    found = [faulty.down(number, START) for number in MANY]
    late_s = [delay.total_seconds() for each in found for delay in each if delay]
    assert HELD_LEAST_S <= min(late_s) < 30
    assert 400 < max(late_s) <= HELD_MOST_S
    assert np.mean(late_s) == pytest.approx(220, abs=10)
    assert {(bool(first), bool(second)) for first, second in found} == {
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    }


def test_nothing_happens_outside_the_spans() -> None:
    later = START + timedelta(hours=5)
    faulty = WireFaults("industry", 7, [SPAN, (later, later + timedelta(hours=1))], WireShares.of_everything(1.0))
    for inside in (START, END - timedelta(seconds=1), later):
        assert faulty.down(1, inside) == faulty.up(1, inside) == ()
        assert faulty.loses_ack(1, inside)
        assert faulty.loses_receipt(1, inside)
    for outside in (START - timedelta(seconds=1), END, later - timedelta(seconds=1), later + timedelta(hours=1)):
        assert faulty.down(1, outside) == faulty.up(1, outside) == (AT_ONCE,)
        assert not faulty.loses_ack(1, outside)
        assert not faulty.loses_receipt(1, outside)


def test_a_seed_repeats_and_another_seed_or_gateway_is_another_wire() -> None:
    shares = WireShares.of_everything(0.2)
    first_wire = WireFaults("industry", 7, [SPAN], shares)

    def thrown(faulty: WireFaults, order: range) -> dict[int, tuple[Fate, Fate, bool]]:
        return {
            number: (faulty.down(number, START), faulty.up(number, START), faulty.loses_receipt(number, START))
            for number in order
        }

    first = thrown(first_wire, range(1, 200))
    assert thrown(first_wire, range(199, 0, -1)) == first
    assert thrown(replace(first_wire, seed=8), range(1, 200)) != first
    assert thrown(replace(first_wire, gateway="telecom"), range(1, 200)) != first
    assert any(down != up for down, up, _ in first.values()), "both ways are thrown by themselves"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_nothing_and_everything(share: float) -> None:
    with pytest.raises(ValueError, match="held_up: must lie between 0 and 1"):
        WireShares(held_up=share)
