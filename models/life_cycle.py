"""The life of an event as a table: which status may follow which, and by whose hand.

    draft → declared → (consulted) → approved → (invited → bidding → cleared) → notified → acknowledged → preparing
    → executing ⇄ adjusted → ended → evaluated → published → (disputed → published) → settled

    cancelled      from every status before executing
    terminated     in the place of ended, when it is stopped while it runs
    archived       nothing of it may change any more

A direct call goes from approved to notified, one with bidding by way of its market.  Whatever asks where an event
stands asks for a phase (``EventStatus.runs`` and its like), not for one status: a new status then needs no new code.
Source: the operators' roles and states in use in China (city platforms, settlement with disputes), NAESB's clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from models.errors import EventStateError
from models.roles import Role


class EventStatus(StrEnum):
    """Where an event stands in its life."""

    DRAFT = "draft"
    DECLARED = "declared"
    CONSULTED = "consulted"
    APPROVED = "approved"
    INVITED = "invited"
    BIDDING = "bidding"
    CLEARED = "cleared"
    NOTIFIED = "notified"
    ACKNOWLEDGED = "acknowledged"
    PREPARING = "preparing"
    EXECUTING = "executing"
    ADJUSTED = "adjusted"
    ENDED = "ended"
    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    EVALUATED = "evaluated"
    PUBLISHED = "published"
    DISPUTED = "disputed"
    SETTLED = "settled"
    ARCHIVED = "archived"

    @property
    def is_wished(self) -> bool:
        """Nobody has approved it yet: no plan knows of it."""
        return self in WISHED

    @property
    def is_planned(self) -> bool:
        """Approved, and not over: plans serve it."""
        return self in PLANNED

    @property
    def is_asked(self) -> bool:
        """Aggregators know of it, and it has not begun: it takes their answers."""
        return self in ASKED

    @property
    def runs(self) -> bool:
        """Its window is open and its order in force."""
        return self in RUNNING

    @property
    def is_over(self) -> bool:
        """It ran, and does no more."""
        return self in OVER

    @property
    def has_begun(self) -> bool:
        """It runs or ran: what loads did in its window says nothing about what they do undisturbed."""
        return self in RUNNING or self in OVER

    @property
    def is_shown(self) -> bool:
        """Those whom its statement is about may see it."""
        return self in SHOWN

    @property
    def awaits_judgement(self) -> bool:
        """It is over, and nobody has judged it yet."""
        return self in UNJUDGED


_S = EventStatus
WISHED = frozenset({_S.DRAFT, _S.DECLARED, _S.CONSULTED})
IN_MARKET = frozenset({_S.INVITED, _S.BIDDING, _S.CLEARED})
ASKED = frozenset({_S.NOTIFIED, _S.ACKNOWLEDGED, _S.PREPARING})
RUNNING = frozenset({_S.EXECUTING, _S.ADJUSTED})
PLANNED = frozenset({_S.APPROVED}) | IN_MARKET | ASKED | RUNNING
UNJUDGED = frozenset({_S.ENDED, _S.TERMINATED})
JUDGED = frozenset({_S.EVALUATED, _S.PUBLISHED, _S.DISPUTED, _S.SETTLED, _S.ARCHIVED})
SHOWN = JUDGED - {_S.EVALUATED}
OVER = UNJUDGED | JUDGED

STATUS_ZH: dict[str, str] = {
    _S.DRAFT: "草稿",
    _S.DECLARED: "已申报",
    _S.CONSULTED: "已会商",
    _S.APPROVED: "已批准",
    _S.INVITED: "已邀约",
    _S.BIDDING: "申报竞价中",
    _S.CLEARED: "已出清",
    _S.NOTIFIED: "已通知",
    _S.ACKNOWLEDGED: "已确认",
    _S.PREPARING: "准备中",
    _S.EXECUTING: "执行中",
    _S.ADJUSTED: "调整中",
    _S.ENDED: "已结束",
    _S.TERMINATED: "提前终止",
    _S.CANCELLED: "已取消",
    _S.EVALUATED: "已评估",
    _S.PUBLISHED: "已公示",
    _S.DISPUTED: "有异议",
    _S.SETTLED: "已结算",
    _S.ARCHIVED: "已归档",
}
"""What operators call each of them in Chinese."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A row of the table: what is done (``verb``), from where it may be done, and where it leads.

    ``roles``: who may do it; empty, the service does it when it is due.  ``second_person``: never who declared it.
    ``needs_reason``: what is to be said for the record.
    """

    verb: str
    before: frozenset[EventStatus]
    after: EventStatus
    roles: frozenset[Role] = frozenset()
    second_person: bool = False
    needs_reason: bool = False


_OPERATOR, _APPROVER = frozenset({Role.OPERATOR}), frozenset({Role.APPROVER})

TRANSITIONS: tuple[Transition, ...] = (
    Transition("declare", frozenset({_S.DRAFT}), _S.DECLARED, _OPERATOR),
    Transition("consult", frozenset({_S.DECLARED}), _S.CONSULTED, _OPERATOR, needs_reason=True),
    Transition("approve", frozenset({_S.DECLARED, _S.CONSULTED}), _S.APPROVED, _APPROVER, second_person=True),
    Transition("invite", frozenset({_S.APPROVED}), _S.INVITED),
    Transition("open for bids", frozenset({_S.INVITED}), _S.BIDDING),
    Transition("clear", frozenset({_S.BIDDING}), _S.CLEARED),
    Transition("notify", frozenset({_S.APPROVED, _S.CLEARED}), _S.NOTIFIED),
    Transition("ask again", ASKED - {_S.NOTIFIED}, _S.NOTIFIED),
    Transition("acknowledge", frozenset({_S.NOTIFIED}), _S.ACKNOWLEDGED),
    Transition("prepare", frozenset({_S.ACKNOWLEDGED}), _S.PREPARING),
    Transition("begin", ASKED, _S.EXECUTING),
    Transition("adjust", RUNNING, _S.ADJUSTED, _OPERATOR | _APPROVER, needs_reason=True),
    Transition("hold", frozenset({_S.ADJUSTED}), _S.EXECUTING),
    Transition("end", RUNNING, _S.ENDED),
    Transition("terminate", RUNNING, _S.TERMINATED, _OPERATOR | _APPROVER, needs_reason=True),
    Transition("cancel", WISHED | (PLANNED - RUNNING), _S.CANCELLED, _OPERATOR | _APPROVER, needs_reason=True),
    Transition("evaluate", UNJUDGED, _S.EVALUATED),
    Transition("publish", frozenset({_S.EVALUATED, _S.DISPUTED}), _S.PUBLISHED, _OPERATOR),
    Transition(
        "dispute",
        frozenset({_S.PUBLISHED, _S.SETTLED}),
        _S.DISPUTED,
        frozenset({Role.AGGREGATOR, Role.OPERATOR}),
        needs_reason=True,
    ),
    Transition("settle", frozenset({_S.PUBLISHED}), _S.SETTLED, _APPROVER, second_person=True),
    Transition("archive", frozenset({_S.SETTLED}), _S.ARCHIVED),
)
"""Every step that there is; no two lead from the same status to the same."""


def next_statuses(status: EventStatus) -> frozenset[EventStatus]:
    """Which statuses may follow one."""
    return frozenset(row.after for row in TRANSITIONS if status in row.before)


def transition(verb: str) -> Transition:
    """The row of a verb; ``KeyError`` if there is none."""
    return _BY_VERB[verb]


def step(event_id: str, status: EventStatus, wanted: EventStatus) -> EventStatus:
    """The status after the step; ``EventStateError`` names the legal ones if the life-cycle does not allow it."""
    if wanted not in next_statuses(status):
        legal = ", ".join(_legal(status)) or "nothing"
        raise EventStateError(event_id, status.value, f"become {wanted.value}", f"only {legal} may follow")
    return wanted


def _legal(status: EventStatus) -> Iterator[str]:
    """What may follow, in the order of the life."""
    after = next_statuses(status)
    return (each.value for each in EventStatus if each in after)


_BY_VERB = {row.verb: row for row in TRANSITIONS}
