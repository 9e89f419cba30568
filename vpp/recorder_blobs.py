"""What lines of the record point to, so that tampering is not only found but located; formats of version 1.

Batches, answers: JSON.  Readings: a line of JSON, then three arrays of little-endian numbers (differences of keys, rows
of each, checksums).  Names: JSON, [[key, id], ...] of every resource; it stays one blob as long as nobody registers.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.store.record import Answers, RowDigest
from adapters.store.record_readings import ReadingsDigest

HOUR_US = 3_600_000_000
SHORT = 16
"""Hexadecimal digits that tell a batch from one that was changed."""

Words = tuple[str | None, str | None, int | None]


@dataclass(frozen=True, slots=True)
class BatchMark:
    """What is known of a batch."""

    key: int
    command_id: str
    sent_us: int
    setpoints: int
    short: str


def _json(facts: Any) -> bytes:
    return json.dumps(facts, separators=(",", ":")).encode()


def _named(content: bytes) -> tuple[bytes, str]:
    return content, hashlib.sha256(content).hexdigest()


def commands_sha256(rows: Sequence[RowDigest]) -> str:
    """Over the digests of all batches in order."""
    return hashlib.sha256("".join(row.sha256 for row in rows).encode()).hexdigest()


def pack_batches(rows: Sequence[RowDigest]) -> tuple[bytes, str]:
    """The blob and its name."""
    return _named(_json([[row.key, row.name, row.at_us, row.facts["setpoints"], row.sha256[:SHORT]] for row in rows]))


def unpack_batches(content: bytes) -> list[BatchMark]:
    """What ``pack_batches`` made."""
    return [BatchMark(*row) for row in json.loads(content)]


def pack_answers(rows: Sequence[Answers]) -> tuple[bytes, str]:
    """Who said the same at the same time stands together: acknowledgements come by the hundred."""
    packed = []
    for row in rows:
        groups: dict[Words, list[str]] = defaultdict(list)
        for name, words in row.said.items():
            groups[words].append(name)
        packed.append([row.key, row.command_id, row.sent_us, [[*words, names] for words, names in groups.items()]])
    return _named(_json(packed))


def unpack_answers(content: bytes) -> list[Answers]:
    """What ``pack_answers`` made."""
    return [
        Answers(key, command_id, sent_us, {name: (*words,) for *words, names in groups for name in names})
        for key, command_id, sent_us, groups in json.loads(content)
    ]


def names_blob(keys: Sequence[tuple[int, str]]) -> bytes:
    """Who has which key."""
    return _json(keys)


def pack_readings(digest: ReadingsDigest, names: bytes) -> tuple[bytes, str]:
    """The blob and its name."""
    head = _json({"names": hashlib.sha256(names).hexdigest(), "resources": len(digest.keys)})
    steps = np.diff(digest.keys, prepend=0).astype("<u4")
    arrays = steps, digest.counts.astype("<u4"), digest.checks.astype("<u4")
    return _named(b"\n".join([head, b"".join(each.tobytes() for each in arrays)]))


def unpack_readings(content: bytes) -> tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Name of the blob of names; keys, rows and checksums."""
    head, _, body = content.partition(b"\n")
    facts = json.loads(head)
    steps, counts, checks = np.frombuffer(body, dtype="<u4").reshape(3, facts["resources"])
    return facts["names"], np.cumsum(steps.astype(np.int64)), counts.astype(np.int64), checks.astype(np.uint32)
