"""Readings against the record, hour by hour, each line by the readings that came between its two moments."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.store.record_readings import ReadingsDigest
from adapters.store.schema import from_us, to_us
from adapters.store.store import Store
from vpp.recorder import CAME_LATE
from vpp.recorder_blobs import HOUR_US, unpack_readings
from vpp.recorder_findings import Verdict, What

_LAST_LOOK_US = to_us(from_us(0) + CAME_LATE[-1])


@dataclass(frozen=True, slots=True)
class Thinned:
    """What retention says of itself: spans whose readings became means, and before when everything was dropped."""

    spans: Sequence[Mapping[str, Any]]
    forgotten_us: int

    def why(self, hour_us: int) -> str | None:
        """The note for an hour that need not be there, None if it must be."""
        if hour_us + HOUR_US <= self.forgotten_us:
            return "forgotten readings"
        for span in self.spans:
            inside = span["from_us"] <= hour_us and hour_us + HOUR_US <= span["until_us"]
            if inside and not any(low < hour_us + HOUR_US and high > hour_us for low, high in span["keep_us"]):
                return "thinned readings"
        return None


def verify_readings(
    store: Store, verdict: Verdict, hour_us: int, lines: Sequence[dict[str, Any]], thinned: Thinned
) -> None:
    """All lines of one hour."""
    why = thinned.why(hour_us)
    if why is not None and not store.readings_received(hour_us, hour_us + HOUR_US, None, None):
        verdict.notes[why] += 1
        return
    for details in lines:
        after_us, until_us = details["received_after_us"], details["received_until_us"]
        now = store.readings_digest(hour_us, hour_us + HOUR_US, after_us, until_us)
        verdict.checked["readings"] += now.count
        if (now.count, now.sha256) != (details["count"], details["sha256"]):
            _locate(store, verdict, hour_us, details, now)
        elif details["blob"] is not None:
            blob = store.intact_blob(details["blob"])
            if blob is None:
                verdict.add(What.BROKEN, "record_blobs", details["blob"], "missing or changed", hour_us)
            else:
                _names(store, verdict, hour_us, blob)


def _locate(store: Store, verdict: Verdict, hour_us: int, details: dict[str, Any], now: ReadingsDigest) -> None:
    """Whose rows are not those that were recorded."""
    whole = f"rows: {details['count']} → {now.count}"
    blob = None if details["blob"] is None else store.intact_blob(details["blob"])
    if blob is None:
        if details["blob"] is not None:
            verdict.add(What.BROKEN, "record_blobs", details["blob"], "missing or changed", hour_us)
            verdict.add(What.CHANGED, "readings", _hour(hour_us), whole, hour_us)
            return
        known: dict[int, tuple[int, int]] = {}
    else:
        _, keys, counts, checks = unpack_readings(blob)
        known = dict(zip(keys.tolist(), zip(counts.tolist(), checks.tolist(), strict=True), strict=True))
    ids = dict(store.resource_keys())
    pairs = zip(now.counts.tolist(), now.checks.tolist(), strict=True)
    there = dict(zip(now.keys.tolist(), pairs, strict=True))
    differing = sorted(key for key in {*known, *there} if known.get(key) != there.get(key))
    for key in differing:
        before, after = known.get(key, (0, 0))[0], there.get(key, (0, 0))[0]
        what = What.CHANGED if before and after else What.MISSING if before else What.ADDED
        differs = f"rows: {before} → {after}" if before != after else f"{after} rows, other values"
        verdict.add(what, "readings", _hour(hour_us), differs, hour_us, ids.get(key, f"#{key}"))
    if not differing:
        verdict.add(What.CHANGED, "readings", _hour(hour_us), whole, hour_us)


def _names(store: Store, verdict: Verdict, hour_us: int, blob: bytes) -> None:
    """The keys must still be of the same resources."""
    name, keys, _, _ = unpack_readings(blob)
    content = store.intact_blob(name)
    if content is None:
        verdict.add(What.BROKEN, "record_blobs", name, "missing or changed", hour_us)
        return
    said, now = dict(json.loads(content)), dict(store.resource_keys())
    for key in keys.tolist():
        if said.get(key) != now.get(key):
            finding = f"resource_key {key}"
            differs = f"resource_id: {said.get(key)} → {now.get(key)}"
            verdict.add(What.CHANGED, "resources", finding, differs, hour_us, said.get(key))


def verify_late_hours(
    store: Store,
    verdict: Verdict,
    span_us: tuple[int, int],
    newest_us: int,
    lines: Mapping[int, Sequence[dict[str, Any]]],
    thinned: Thinned,
) -> None:
    """Readings that are in no line, in hours that the record has passed: late ones that are still waited for, and those
    that nobody can have sent.
    """
    start_us, end_us = span_us
    start_us = start_us // HOUR_US * HOUR_US
    while (first_us := store.next_reading_us(start_us, end_us)) is not None:
        hour_us = first_us // HOUR_US * HOUR_US
        seen = max((each["received_until_us"] for each in lines.get(hour_us, ())), default=None)
        count = store.readings_received(hour_us, hour_us + HOUR_US, seen, None)
        if count and newest_us - hour_us < _LAST_LOOK_US:
            verdict.notes["new readings"] += count
        elif count:
            why = "came after the last look at their hour" if thinned.why(hour_us) is None else "became means before"
            verdict.add(What.ADDED, "readings", _hour(hour_us), f"{count} rows, {why}", hour_us)
        start_us = hour_us + HOUR_US


def _hour(hour_us: int) -> str:
    return f"hour {from_us(hour_us):%Y-%m-%dT%HZ}"
