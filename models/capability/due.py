r"""Is a test due: never tested, expired, or less in events than the tested figure says.

    (Z6)  an event falls short if ratio < 1 - tolerance

``ratio`` is what an event delivered over what was ordered of the tested figure (at most all of it).  Events that began
before the newest test ended say nothing: that test has answered them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.canonical import sha256_of
from models.capability.explained import Language
from models.capability.measured import PLACE
from models.capability.step_indices import SLACK
from models.capability.verdict import CapacityVerdict
from models.errors import InputError, InputFault
from models.events import Direction


class DueReason(StrEnum):
    """Why a test is due."""

    NEVER_TESTED = "never_tested"
    EXPIRED = "expired"
    SHORT_IN_EVENTS = "short_in_events"


DUE_WORDS: dict[DueReason, tuple[str, str]] = {
    DueReason.NEVER_TESTED: ("never tested", "尚未测试"),
    DueReason.EXPIRED: ("the tested figure has expired", "测试结果已过期"),
    DueReason.SHORT_IN_EVENTS: ("events gave less than the tested figure", "事件中表现低于测试值"),
}


class DueRules(BaseModel):
    """``tolerance``: the lower edge of settlement's band.  ``least_short_events``: so many make a test due."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    least_short_events: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True, slots=True)
class EventRatio:
    """How an event went, [start, end) aware: delivered over what was ordered of the tested figure."""

    event_id: str
    direction: Direction
    start: datetime
    end: datetime
    ratio: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.ratio):
            raise InputError([InputFault(PLACE, "ratio", self.ratio, f"of event {self.event_id} must be finite")])


@dataclass(frozen=True, slots=True)
class Due:
    """``reasons``: empty if none is due.  ``inputs_sha256``: of verdict, events, moment and rules."""

    reasons: tuple[DueReason, ...]
    short_events: tuple[str, ...]
    expires_at: datetime | None
    inputs_sha256: str

    @property
    def is_due(self) -> bool:
        """True if there is a reason."""
        return bool(self.reasons)

    def told(self, language: Language) -> list[str]:
        """In words."""
        return [DUE_WORDS[reason][language == "zh"] for reason in self.reasons]


def due(verdict: CapacityVerdict, events: Sequence[EventRatio], at: datetime, rules: DueRules | None = None) -> Due:
    """Whether a test in the verdict's direction is due at ``at``, which events that end later say nothing of."""
    chosen = DueRules() if rules is None else rules
    reasons: list[DueReason] = []
    short: tuple[str, ...] = ()
    if verdict.tested_at is None or verdict.expires_at is None:
        reasons.append(DueReason.NEVER_TESTED)
    else:
        if at >= verdict.expires_at:
            reasons.append(DueReason.EXPIRED)
        short = tuple(each.event_id for each in events if _falls_short(each, verdict, at, chosen))
        if len(short) >= chosen.least_short_events:
            reasons.append(DueReason.SHORT_IN_EVENTS)
    inputs = {
        "verdict": verdict.inputs_sha256,
        "events": [
            [each.event_id, each.direction.value, each.start.isoformat(), each.end.isoformat(), each.ratio]
            for each in events
        ],
        "at": at.isoformat(),
        "rules": chosen.model_dump(mode="json"),
    }
    return Due(tuple(reasons), short, verdict.expires_at, sha256_of(inputs))


def _falls_short(event: EventRatio, verdict: CapacityVerdict, at: datetime, rules: DueRules) -> bool:
    """(Z6), of events that the newest test has not answered."""
    concerned = event.direction is verdict.direction and event.end <= at
    after = verdict.tested_at is not None and event.start >= verdict.tested_at
    return concerned and after and event.ratio < 1 - rules.tolerance - SLACK
