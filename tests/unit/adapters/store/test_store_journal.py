from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import Store
from adapters.store.journal import PAYLOAD_BYTES
from models.canonical import finite
from models.errors import StoreError
from models.records import DeadLetter, IdempotentAnswer

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)


def test_a_message_is_answered_once_and_its_answer_kept(store: Store) -> None:
    assert store.answer_for("sun", "m1") is None
    store.remember_answer("sun", "m1", b'{"ok": true}', NOON)
    assert store.answer_for("sun", "m1") == b'{"ok": true}'
    assert store.answer_for("moon", "m1") is None, "another aggregator's message may have the same id"
    with pytest.raises(StoreError):
        store.remember_answer("sun", "m1", b"another", NOON)


def test_an_answer_and_its_effects_are_kept_together_or_not_at_all(store: Store) -> None:

    def take_a_message_and_fail() -> None:
        with store.transaction():
            store.add_to_counter("effects")
            store.remember_answer("sun", "m1", b"ok", NOON)
            assert store.answer_for("sun", "m1") == b"ok", "inside, it is seen already"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_a_message_and_fail()
    assert store.answer_for("sun", "m1") is None
    assert store.counters() == {}


def test_a_failed_statement_takes_the_whole_transaction_with_it(store: Store) -> None:
    store.remember_answer("sun", "m1", b"ok", NOON)

    def take_the_message_again() -> None:
        with store.transaction():
            store.add_to_counter("effects")
            store.remember_answer("sun", "m1", b"again", NOON)

    with pytest.raises(StoreError):
        take_the_message_again()
    assert store.counters() == {}


def test_old_answers_are_forgotten(store: Store) -> None:
    store.remember_answer("sun", "old", b"", NOON - timedelta(days=9))
    store.remember_answer("sun", "new", b"", NOON)
    answer = IdempotentAnswer("f" * 64, 201, b"{}")
    store.remember_idempotent("wang", "old", answer, NOON - timedelta(days=9))
    assert store.idempotent_answer("wang", "old") == answer
    assert store.idempotent_answer("li", "old") is None
    assert store.forget_answers(NOON - timedelta(days=7)) == 2
    assert store.answer_for("sun", "new") == b""
    assert store.idempotent_answer("wang", "old") is None


def test_dead_letters_keep_the_first_bytes_whatever_they_are(store: Store) -> None:
    nasty = "NUL \x00 and half a surrogate \ud800"
    number = store.add_dead_letter(DeadLetter(NOON, "up/telemetry", nasty, "sun", nasty, b"\x00\xff" * 5000))
    store.add_dead_letter(DeadLetter(NOON, "up/ack", "second"))
    newest, oldest = store.dead_letters()
    assert newest.reason == "second"
    assert oldest.letter_id == number
    assert len(oldest.payload) == PAYLOAD_BYTES
    assert oldest.reason.startswith("NUL ")
    assert store.dead_letters(before_id=newest.letter_id, limit=5) == [oldest]
    assert store.dead_letters(aggregator_id="moon") == []


def test_counters_count_on(store: Store) -> None:
    assert [store.add_to_counter("a"), store.add_to_counter("a", 41), store.add_to_counter("b")] == [1, 42, 1]
    assert store.counters() == {"a": 42, "b": 1}


# ---- the audit chain


def lines(store: Store, count: int = 4) -> None:
    for number in range(count):
        details = {"kw": 0.1 * number, "名": "王", "list": [1, None, True]}
        store.append_audit(NOON + timedelta(seconds=number), "wang", "event.approved", f"e{number}", details)


def test_the_log_is_a_chain_and_says_so(store: Store) -> None:
    assert store.verify_audit() == (0, "0" * 64)
    lines(store)
    log = store.audit_log()
    assert [entry.entry_id for entry in log] == [1, 2, 3, 4]
    assert [entry.prev_hash for entry in log[1:]] == [entry.entry_hash for entry in log[:-1]]
    assert log[3].details == {"kw": 0.1 * 3, "名": "王", "list": [1, None, True]}
    assert store.verify_audit() == (4, log[-1].entry_hash)
    assert [entry.entry_id for entry in store.audit_log(after_id=2, limit=1)] == [3]
    assert [entry.entry_id for entry in store.audit_log(subject="e1")] == [2]


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit WHERE entry_id = 2"])
def test_the_database_refuses_to_change_the_log(store: Store, statement: str) -> None:
    lines(store)
    with pytest.raises(StoreError, match="append-only"), store._db.writing() as connection:
        connection.exec_driver_sql(statement)
    assert store.verify_audit()[0] == 4


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE audit SET actor = 'nobody' WHERE entry_id = 3",
        "UPDATE audit SET at = at + 1 WHERE entry_id = 3",
        "UPDATE audit SET details = '{}' WHERE entry_id = 3",
        "UPDATE audit SET subject = 'e9' WHERE entry_id = 3",
        "DELETE FROM audit WHERE entry_id = 3",
        "UPDATE audit SET entry_hash = prev_hash WHERE entry_id = 3",
    ],
)
def test_who_gets_around_the_database_is_found_out(store: Store, forgery: str) -> None:
    lines(store)
    with store._db.writing() as connection:
        if store._db.is_sqlite:
            connection.exec_driver_sql("DROP TRIGGER audit_no_update")
            connection.exec_driver_sql("DROP TRIGGER audit_no_delete")
        else:
            connection.exec_driver_sql("ALTER TABLE audit DISABLE TRIGGER audit_append_only")
        connection.exec_driver_sql(forgery)
    with pytest.raises(StoreError, match="line 3"):
        store.verify_audit()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(actor=st.text(), subject=st.text(), details=st.dictionaries(st.text(), JSON, max_size=3))
def test_whatever_is_logged_the_chain_holds(store: Store, actor: str, subject: str, details: dict) -> None:
    entry = store.append_audit(NOON, actor, "did", subject, details)
    assert store.audit_log(entry.entry_id - 1) == [entry]
    assert entry.details == finite(details)
    store.verify_audit()
