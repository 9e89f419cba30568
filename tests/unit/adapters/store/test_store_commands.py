from datetime import UTC, datetime, timedelta

import pytest

from adapters.store import Store
from models.errors import InputError, StoreError
from models.plan import Setpoint, SetpointBatch
from models.records import AckOutcome

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
SOON = NOON + timedelta(minutes=5)


def batch(store: Store, powers_kw: dict[str, float | None], owner: str = "sun", at: datetime = NOON) -> SetpointBatch:
    sequence = store.next_sequence(owner)
    made = SetpointBatch(
        command_id=f"{owner}-{sequence}",
        aggregator_id=owner,
        sequence=sequence,
        plan_hash="0" * 64,
        valid_from=NOON,
        valid_until=SOON,
        setpoints=tuple(Setpoint(resource_id=name, power_kw=power_kw) for name, power_kw in powers_kw.items()),
    )
    store.save_batch(made, at)
    return made


def test_sequences_count_per_aggregator_and_survive_a_restart(url: str) -> None:
    with Store(url) as store:
        store.migrate()
        assert [store.next_sequence("sun") for _ in range(3)] == [1, 2, 3]
        assert store.next_sequence("moon") == 1
    with Store(url) as store:
        assert store.next_sequence("sun") == 4


def test_the_last_word_to_every_resource_is_known(populated: Store) -> None:
    batch(populated, {"r1": 5.0, "r2": -3.0})
    second = batch(populated, {"r2": None})
    last = populated.last_setpoints()
    assert {name: each.power_kw for name, each in last.items()} == {"r1": 5.0, "r2": None}
    assert last["r2"].command_id == second.command_id
    assert (last["r2"].valid_from, last["r2"].valid_until, last["r2"].acked) == (NOON, SOON, False)
    assert list(populated.last_setpoints(["r1"])) == ["r1"]
    batch(populated, {})


def test_a_command_is_stored_once_and_only_for_known_resources(populated: Store) -> None:
    made = batch(populated, {"r1": 5.0})
    with pytest.raises(StoreError):
        populated.save_batch(made, NOON)
    with pytest.raises(InputError, match="nobody"):
        batch(populated, {"nobody": 1.0})
    assert list(populated.last_setpoints()) == ["r1"]


def test_answers_are_noted_for_one_resource_or_for_the_rest(populated: Store) -> None:
    made = batch(populated, {"r1": 1.0, "r2": 2.0, "r3": 3.0})
    assert populated.save_ack(made.command_id, "r2", "refused", "too hot", SOON) == 1
    assert populated.save_ack(made.command_id, None, "taken", "", SOON) == 2
    assert {name: each.outcome for name, each in populated.last_setpoints().items()} == {
        "r1": AckOutcome.TAKEN,
        "r2": AckOutcome.REFUSED,
        "r3": AckOutcome.TAKEN,
    }
    assert populated.save_ack(made.command_id, None, "taken", "", SOON) == 0, "the same answer again changes nothing"
    assert populated.save_ack(made.command_id, "r1", "done", "", SOON) == 1
    assert populated.save_ack(made.command_id, "r1", "taken", "", SOON) == 0, "late words do not undo what is done"
    assert populated.last_setpoints()["r1"].outcome is AckOutcome.DONE


def test_answers_to_what_was_never_asked_change_nothing(populated: Store) -> None:
    made = batch(populated, {"r1": 1.0})
    assert populated.save_ack("never-sent", "r1", "taken", "", SOON) == 0
    assert populated.save_ack(made.command_id, "r9", "taken", "", SOON) == 0
    assert populated.save_ack(made.command_id, "r1", "taken", "", SOON, aggregator_id="moon") == 0
    with pytest.raises(ValueError, match="perhaps"):
        populated.save_ack(made.command_id, "r1", "perhaps", "", SOON)
    assert not populated.last_setpoints()["r1"].acked


def test_only_the_newest_delivery_is_open_until_it_is_answered_given_up_or_over(populated: Store) -> None:
    batch(populated, {"r1": 1.0})
    first, second = batch(populated, {"r1": 2.0}, at=LATER), batch(populated, {"r2": 2.0, "r3": None}, at=LATER)
    assert [each.command_id for each in populated.open_commands(LATER)] == [first.command_id, second.command_id]
    assert populated.open_commands(SOON) == []
    assert populated.newest_delivery(LATER) == ("0" * 64, LATER)
    assert populated.newest_delivery(SOON) is None
    populated.save_ack(second.command_id, "r3", "refused", "too hot", LATER)
    assert populated.unanswered([first.command_id, second.command_id, "never-sent"]) == {first.command_id}
    (open_one,) = populated.open_commands(LATER)
    assert (open_one.sequence, open_one.tries, open_one.last_sent_at) == (first.sequence, 1, LATER)
    populated.note_try(first.command_id, LATER + timedelta(seconds=45))
    (open_one,) = populated.open_commands(LATER)
    assert (open_one.tries, open_one.last_sent_at) == (2, LATER + timedelta(seconds=45))
    populated.give_up([first.command_id], LATER + timedelta(seconds=90))
    populated.give_up([first.command_id], LATER + timedelta(seconds=99))
    assert populated.open_commands(LATER) == []
    (_, newest), (_, given_up), (_, oldest) = populated.commands("sun")
    assert given_up.given_up_at == LATER + timedelta(seconds=90)
    assert (newest.setpoints, newest.answered) == (2, {AckOutcome.REFUSED: 1})
    assert (oldest.tries, oldest.retried_at, oldest.given_up_at, oldest.answered) == (1, None, None, {})


def test_a_command_is_read_back_as_it_was_made(populated: Store) -> None:
    made = batch(populated, {"r1": 0.1, "r10": -3.0, "r2": None})
    assert populated.batch(made.command_id) == (made, NOON)
    assert populated.batch("never-sent") is None


def test_commands_come_in_pages_newest_first(populated: Store) -> None:
    made = [batch(populated, {"r1": float(k)}).command_id for k in range(3)]
    (key, newest), (_, next_one) = populated.commands(limit=2)
    assert [newest.command_id, next_one.command_id] == made[:0:-1]
    assert [record.command_id for _, record in populated.commands(before=key)] == made[1::-1]
    assert populated.commands("moon") == []
    assert populated.commands(since=SOON) == []


def test_silence_is_listed_until_it_is_broken_or_overtaken(populated: Store) -> None:
    first = batch(populated, {"r1": 1.0, "r2": 2.0, "r3": 3.0})
    second = batch(populated, {"r3": 4.0})
    populated.save_ack(first.command_id, "r1", "taken", "", SOON)
    waiting = populated.unacknowledged(SOON)
    assert [(each.resource_id, each.command_id) for each in waiting] == [
        ("r2", first.command_id),
        ("r3", second.command_id),
    ]
    assert populated.unacknowledged(NOON) == []


def test_a_command_is_overtaken_where_a_newer_one_to_the_same_resource_has_begun(populated: Store) -> None:
    first = batch(populated, {"r1": 1.0, "r2": 2.0, "r3": 3.0})
    newer = batch(populated, {"r1": 1.5, "r3": None})
    everything = {(each.command_id, name) for each in (first, newer) for name in ("r1", "r2", "r3")}
    overtaken = {(first.command_id, "r1"), (first.command_id, "r3")}
    assert populated.overtaken("sun", everything, NOON) == overtaken
    assert populated.overtaken("sun", everything, NOON - timedelta(seconds=1)) == set(), "it has not begun"
    assert populated.overtaken("moon", everything, NOON) == set()
    assert populated.overtaken("sun", {("nothing", "r1"), (first.command_id, "nobody")}, NOON) == set()
