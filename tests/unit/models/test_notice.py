"""What an order is by its notice, and what does not fit."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from models.errors import InputError
from models.events import NoticeType
from models.notice import NoticeRules

RULES = NoticeRules(ZoneInfo("Asia/Shanghai"))
NOW = datetime(2025, 7, 16, 4, 0, tzinfo=UTC)  # noon in Shanghai
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ahead", "kind"),
    [
        (-HOUR, NoticeType.EMERGENCY),
        (0.5 * HOUR, NoticeType.EMERGENCY),
        (timedelta(minutes=31), NoticeType.INTRADAY),
        (3 * HOUR, NoticeType.INTRADAY),
        (11.9 * HOUR, NoticeType.INTRADAY),
        (12.1 * HOUR, NoticeType.DAY_AHEAD),
    ],
)
def test_an_order_without_a_type_gets_the_one_of_its_notice(ahead: timedelta, kind: NoticeType) -> None:
    start = NOW + ahead
    assert RULES.checked(None, start, start + 2 * HOUR, NOW, 0) is kind


@pytest.mark.parametrize(
    ("kind", "ahead", "text"),
    [
        (NoticeType.DAY_AHEAD, 3 * HOUR, "declared on an earlier market day"),
        (NoticeType.INTRADAY, HOUR / 4, "an emergency"),
        (NoticeType.EMERGENCY, 6 * HOUR, "at most 5.0 h ahead"),
        (NoticeType.EMERGENCY, -25 * HOUR, "must not have been open"),
        (None, -26 * HOUR, "must not have been open"),
    ],
)
def test_a_type_that_does_not_fit_is_refused_with_the_reason(
    kind: NoticeType | None, ahead: timedelta, text: str
) -> None:
    with pytest.raises(InputError, match=text):
        RULES.checked(kind, NOW + ahead, NOW + 30 * HOUR, NOW, 0)


def test_a_window_that_is_over_is_no_order() -> None:
    with pytest.raises(InputError, match="must lie in the future"):
        RULES.checked(None, NOW - HOUR, NOW, NOW, 0)


def test_an_emergency_may_be_called_hours_ahead_by_name_and_is_not_asked() -> None:
    start = NOW + 3 * HOUR
    assert RULES.checked(NoticeType.EMERGENCY, start, start + HOUR, NOW, 0) is NoticeType.EMERGENCY
    assert RULES.deadline(NoticeType.EMERGENCY, start, NOW) is None
    assert RULES.deadline(NoticeType.INTRADAY, start, NOW) == NOW + timedelta(minutes=10)
    assert RULES.deadline(NoticeType.DAY_AHEAD, NOW + timedelta(minutes=5), NOW) == NOW + timedelta(minutes=5)
