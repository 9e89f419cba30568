"""Pages by cursor: opaque to the caller, stable while new things arrive."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from models.errors import InputError, InputFault

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[Item]):
    """A page; ``next_cursor`` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = None


def encode_cursor(*parts: Any) -> str:
    """A cursor that carries these values."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type) -> list[Any] | None:
    """The values of a cursor; ``InputError`` if it is not one of ours."""
    if cursor is None:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        parts = None
    fits = isinstance(parts, list) and len(parts) == len(kinds)
    if not fits or any(type(part) is not kind for part, kind in zip(parts, kinds, strict=True)):
        raise _broken(cursor)
    if any(isinstance(part, int) and abs(part) >= 2**63 for part in parts):
        raise _broken(cursor)
    if any(isinstance(part, str) and not part.isprintable() for part in parts):
        raise _broken(cursor)
    return list(parts)


def cursor_time(word: str) -> datetime:
    """A time out of a cursor."""
    try:
        moment = datetime.fromisoformat(word)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise _broken(word) from error


def _broken(cursor: str) -> InputError:
    return InputError([InputFault("query", "cursor", cursor, "must be the next_cursor of an earlier page")])
