"""Times of a message by the thousand: RFC 3339 texts to microseconds, character columns instead of objects.

A gateway that polls its devices gives each reading a time of its own.  Texts of the usual forms, such as
``2025-07-16T05:00:00`` with up to six decimals and ``Z`` or an offset, are read here; whatever else stands there is
left to the careful reader (``models.units.UtcTime``), and so are its words about what is wrong.
"""

import json
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from models.moments import microseconds
from models.units import UtcTime

_TIMES: TypeAdapter[datetime] = TypeAdapter(UtcTime)
_FEW = 8
"""So few different times are read one by one: most messages have one."""
_SHORTEST, _LONGEST = len("2025-07-16T05:00:00Z"), len("2025-07-16T05:00:00.123456+00:00")
_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_MARKS = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"}
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAY_US, _HOUR_US, _MINUTE_US, _SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000
_FIRST_YEAR, _LAST_YEAR = 1970, 9998  # no offset leads out of what a datetime can hold


def microseconds_of(texts: Sequence[str]) -> NDArray[np.int64]:
    """Microseconds since 1970 UTC of every text, (n,); ``ValueError`` if one is no time with an offset."""
    different = set(texts)
    if len(different) <= _FEW:
        known = {text: _careful(text) for text in different}
        return np.array([known[text] for text in texts], dtype=np.int64)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    found, is_plain = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=np.bool_)
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        if _SHORTEST <= length <= _LONGEST:
            chosen = texts if len(places) == len(texts) else [texts[place] for place in places.tolist()]
            found[places], is_plain[places] = _plain("".join(chosen), len(places), length)
    for place in np.flatnonzero(~is_plain).tolist():
        found[place] = _careful(texts[place])
    return found


def _careful(text: str) -> int:
    return microseconds(_TIMES.validate_json(json.dumps(text), strict=True))


def _plain(joined: str, count: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Times of texts of one length, and which of them are of the usual form, (n,) each."""
    try:
        signs = np.frombuffer(joined.encode("ascii"), dtype=np.uint8).reshape(count, length)
    except UnicodeEncodeError:
        return np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    signs = np.ascontiguousarray(signs.T)  # one row of characters for each place in the text
    rest, is_rest_good = _rest(signs[19:])
    if (signs[:17] == signs[:17, :1]).all():  # one and the same minute, as in most messages
        second = _number(signs[17:19])
        good = (signs[17:19] - ord("0") < 10).all(axis=0) & (second <= 59)
        head, is_head_good = _clock(signs[:19, :1].copy())
        return head - head % _MINUTE_US + second * _SECOND_US + rest, good & is_head_good & is_rest_good
    value, good = _clock(signs)
    return value + rest, good & is_rest_good


def _clock(signs: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Date and time of day without what follows, as if it were UTC, and whether it is one."""
    good = np.ones(signs.shape[1], dtype=np.bool_)
    for place, mark in _MARKS.items():
        good &= signs[place] == ord(mark)
    good &= (signs[list(_DIGITS)] - ord("0") < 10).all(axis=0)  # unsigned: below "0" is far above 9
    year, month, day = _number(signs[0:4]), _number(signs[5:7]), _number(signs[8:10])
    hour, minute, second = _number(signs[11:13]), _number(signs[14:16]), _number(signs[17:19])
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    month_days = _DAYS[np.where(good & (month <= 12), month, 0)] + (is_leap & (month == 2))
    good &= (year >= _FIRST_YEAR) & (year <= _LAST_YEAR) & (month >= 1) & (day >= 1) & (day <= month_days)
    good &= (hour <= 23) & (minute <= 59) & (second <= 59)
    return _days(year, month, day) * _DAY_US + hour * _HOUR_US + minute * _MINUTE_US + second * _SECOND_US, good


def _rest(signs: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What decimals and offset add, and whether they are of the usual form; all texts have the same length."""
    length, count = signs.shape
    good = np.zeros(count, dtype=np.bool_)
    added = np.zeros(count, dtype=np.int64)
    for tail in (1, 6):  # "Z", "+00:00"
        decimals = length - tail - 1  # without the point
        if decimals != -1 and not 1 <= decimals <= 6:
            continue
        end = signs[length - tail :]
        fits = end[0] == ord("Z") if tail == 1 else _is_offset(end)
        if decimals > 0:
            part = signs[1 : 1 + decimals]
            fits &= (signs[0] == ord(".")) & (part - ord("0") < 10).all(axis=0)
            added = np.where(fits, _number(part) * 10 ** (6 - decimals), added)
        if tail == 6:
            ahead = _number(end[1:3]) * _HOUR_US + _number(end[4:6]) * _MINUTE_US
            added = np.where(fits, added - np.where(end[0] == ord("+"), ahead, -ahead), added)
        good |= fits
    return added, good


def _is_offset(end: NDArray[np.uint8]) -> NDArray[np.bool_]:
    digits = (end[[1, 2, 4, 5]] - ord("0") < 10).all(axis=0)
    signed = (end[0] == ord("+")) | (end[0] == ord("-"))
    return np.asarray(
        signed & digits & (end[3] == ord(":")) & (_number(end[1:3]) <= 23) & (_number(end[4:6]) <= 59), dtype=np.bool_
    )


def _number(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    value = np.zeros(digits.shape[1], dtype=np.int64)
    for row in digits:
        value = value * 10 + (row.astype(np.int64) - ord("0"))
    return value


def _days(year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days from 1 January 1970; years begin in March here, so that the leap day is the last."""
    of_march = year - (month <= 2)
    era, of_year = of_march // 400, of_march % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return np.asarray(era * 146_097 + of_year * 365 + of_year // 4 - of_year // 100 + day_of_year - 719_468)
