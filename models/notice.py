"""Notice: the three types of event by how long before its window it is ordered, as data.

==========  =======================================  ====================================================
type        notice, from the declaration             what follows
==========  =======================================  ====================================================
day-ahead   declared on an earlier market day        aggregators are asked and answer within the usual time
intraday    the same market day                      aggregators are asked and answer sooner
emergency   any up to ``most``; the window may be    direct call: nobody is asked, setpoints leave with the
            open already                             approval of the second person; resources may opt out
==========  =======================================  ====================================================

An order that names no type gets the one that its notice makes it.  A type that is named must fit.

Sources: domain notes 2.3: day-ahead is D-1; intraday asks for 2 to 4 h in Guangzhou, 2 h in Wuhan; Sichuan opens the
emergency stage for a gap that is forecast within 5 h; real-time calls leave 30 min or less.  All second hand, so every
number is a setting; between 30 min and the 2 h of those provinces nothing is forbidden here unless it is set so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from models.errors import InputError, InputFault
from models.events import NoticeType


@dataclass(frozen=True, slots=True)
class NoticeRule:
    """``least``: the start lies so far ahead (negative: the window may be open).  ``most``: and no further.

    ``respond_within``: how long aggregators may think; None: they are not asked.  ``source``: where it comes from.
    """

    least: timedelta
    most: timedelta | None
    respond_within: timedelta | None
    source: str
    verified: bool = False


SHORT = timedelta(minutes=30)
"""With no more notice than this nobody can be asked first."""
LONGEST_OPEN = timedelta(days=1)
"""A window that has been open for so long is not one that somebody means to order now."""


def usual_rules() -> dict[NoticeType, NoticeRule]:
    """The rules as they are without settings."""
    return {
        NoticeType.DAY_AHEAD: NoticeRule(SHORT, None, timedelta(minutes=15), "domain 2.3, Guangzhou's 日前"),
        NoticeType.INTRADAY: NoticeRule(SHORT, None, timedelta(minutes=10), "domain 2.3, Guangzhou, Wuhan"),
        NoticeType.EMERGENCY: NoticeRule(-LONGEST_OPEN, timedelta(hours=5), None, "domain 2.3, Sichuan's 5 h"),
    }


@dataclass(frozen=True)
class NoticeRules:
    """The rule of every type, and the zone whose market days count."""

    zone: ZoneInfo
    rules: Mapping[NoticeType, NoticeRule] = field(default_factory=usual_rules)

    def type_of(self, start: datetime, now: datetime) -> NoticeType:
        """What an order is that names no type."""
        if start - now <= SHORT:
            return NoticeType.EMERGENCY
        return NoticeType.DAY_AHEAD if self._is_ahead(start, now) else NoticeType.INTRADAY

    def checked(self, wanted: NoticeType | None, start: datetime, end: datetime, now: datetime, row: int) -> NoticeType:
        """The type of an order, ``InputError`` if what it names does not fit its window."""
        if end <= now:
            raise InputError([InputFault("event", "end", end.isoformat(), "must lie in the future", row)])
        kind = self.type_of(start, now) if wanted is None else wanted
        rule, notice = self.rules[kind], start - now
        if kind is NoticeType.DAY_AHEAD and not self._is_ahead(start, now):
            text = "a day-ahead event is declared on an earlier market day: this one is intraday, or an emergency"
            raise InputError([InputFault("event", "notice_type", kind.value, text, row)])
        if notice < rule.least:
            text = f"{kind.value}: needs {_minutes(rule.least)} of notice, the start leaves {_minutes(notice)}: choose "
            text += "a later start, or an emergency (a direct call, nobody is asked first)"
            if kind is NoticeType.EMERGENCY:
                text = f"emergency: the window must not have been open for more than {_minutes(-rule.least)}"
            raise InputError([InputFault("event", "start", start.isoformat(), text, row)])
        if rule.most is not None and notice > rule.most:
            text = f"is called at most {_minutes(rule.most)} ahead: with {_minutes(notice)} aggregators can be asked"
            raise InputError([InputFault("event", "notice_type", kind.value, text, row)])
        return kind

    def deadline(self, kind: NoticeType, start: datetime, notified_at: datetime) -> datetime | None:
        """Until when aggregators may answer, None if they are not asked; never later than the start."""
        within = self.rules[kind].respond_within
        return None if within is None else min(notified_at + within, start)

    def _is_ahead(self, start: datetime, now: datetime) -> bool:
        return now.astimezone(self.zone).date() < start.astimezone(self.zone).date()


def _minutes(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes:.0f} min" if abs(minutes) < 120 else f"{minutes / 60:.1f} h"
