"""Answers to commands against the record: an answer may follow another as devices give them, and not otherwise."""

from collections.abc import Sequence
from typing import Any

from adapters.store.record import SENDING, Answers, Said
from adapters.store.schema import from_us, to_us
from adapters.store.store import Store
from models.records import AckOutcome
from vpp.recorder import CUT
from vpp.recorder_blobs import Words, unpack_answers
from vpp.recorder_findings import Verdict, What

_NOTHING: Words = (None, None, None)
_FOLLOWS = {
    None: {each.value for each in AckOutcome},
    AckOutcome.TAKEN.value: {AckOutcome.DONE.value, AckOutcome.REFUSED.value},
    AckOutcome.DONE.value: {AckOutcome.REFUSED.value},
}
"""What can be said after what (``Commands.save_acks``)."""
_CUT_US = to_us(from_us(0) + CUT)


def follows(before: Words, after: Words, looked_at_us: int) -> bool:
    """Whether a device may have said that after it was looked at."""
    at_us = after[2]
    return after[0] in _FOLLOWS.get(before[0], ()) and isinstance(at_us, int) and at_us > looked_at_us - _CUT_US


def verify_answers(store: Store, verdict: Verdict, details: dict[str, Any], later: Sequence[dict[str, Any]]) -> None:
    """One range of batches: the first look, what the later one says of it, and what stands there now."""
    blob = _blob(store, verdict, details)
    if blob is None:
        return
    said: dict[int, Said] = {each.key: dict(each.said) for each in unpack_answers(blob)}
    final: set[int] = set()
    for look in later:
        if (look["after"] or 0) < details["through"] and look["through"] > (details["after"] or 0):
            final |= {key for key in said if (look["after"] or 0) < key <= look["through"]}
            _overlay(verdict, said, unpack_answers(_blob(store, verdict, look) or b"[]"), details["looked_at_us"])
    for now in store.answers_to(details["after"], details["through"]):
        if now.key in said:  # others are told as commands that were added
            verdict.checked["answers"] += len(now.said)
            _compare(verdict, now, said[now.key], None if now.key in final else details["looked_at_us"])


def _overlay(verdict: Verdict, said: dict[int, Said], changes: Sequence[Answers], looked_at_us: int) -> None:
    """What the later look found to have changed, as if it had been said at the first; if it can have been."""
    for each in changes:
        if each.key not in said:
            continue
        for name, words in each.said.items():
            before = said[each.key].get(name, _NOTHING)
            if not _may_follow(name, before, words, looked_at_us):
                change = f"between two looks: {_text(before)} → {_text(words)}"
                verdict.add(What.CHANGED, "setpoints", each.command_id, change, each.sent_us, name)
            said[each.key][name] = words


def _compare(verdict: Verdict, now: Answers, said: Said, looked_at_us: int | None) -> None:
    """``looked_at_us``: None if it was the last look, after which nothing may change."""
    for name in sorted({*now.said, *said}):
        before, words = said.get(name, _NOTHING), now.said.get(name, _NOTHING)
        if before == words:
            continue
        if looked_at_us is not None and _may_follow(name, before, words, looked_at_us):
            verdict.notes["new answers"] += 1
            continue
        table, who = ("setpoint_batches", None) if name == SENDING else ("setpoints", name)
        verdict.add(What.CHANGED, table, now.command_id, f"{_text(before)} → {_text(words)}", now.sent_us, who)


def _may_follow(name: str, before: Words, after: Words, looked_at_us: int) -> bool:
    return (_sent_again if name == SENDING else follows)(before, after, looked_at_us)


def _sent_again(before: Words, now: Words, looked_at_us: int) -> bool:
    """Whether a batch may have been sent once more, or given up, after it was looked at."""
    earliest_us = looked_at_us - _CUT_US
    try:
        once = (before[0] or "tried 1", before[2]) == (now[0] or "tried 1", now[2])
        more = _number(now[0] or "tried 1") > _number(before[0] or "tried 1") and (now[2] or 0) > earliest_us
        given_up = before[1] is None and now[1] is not None and _number(now[1]) > earliest_us
    except (ValueError, TypeError):
        return False
    return (once or more) and (before[1] == now[1] or given_up)


def _number(words: str) -> int:
    return int(words.rpartition(" ")[2])


def _text(words: Words) -> str:
    outcome, reason, at_us = words
    at = f" {from_us(at_us).isoformat()}" if isinstance(at_us, int) and 0 < at_us < 2**57 else ""
    return f"{outcome or 'no answer'}{at}{f' ({reason})' if reason else ''}"


def _blob(store: Store, verdict: Verdict, details: dict[str, Any]) -> bytes | None:
    content = store.intact_blob(details["blob"])
    if content is None:
        verdict.add(What.BROKEN, "record_blobs", details["blob"], "missing or changed", details["first_sent_us"])
    return content
