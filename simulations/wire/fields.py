"""Reading a message from the platform, field by field: strict about what is used, blind to what is not."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from models.errors import InputFault, MessageError

_MONEY = re.compile(r"-?\d+\.\d\d")


class Fields:
    """Reads fields of a JSON object by name and type, with a message that says what was wrong."""

    def __init__(self, place: str, values: Any) -> None:
        self._place = place
        if not isinstance(values, dict):
            raise self.fault("", values, "must be an object")
        self.values: dict[str, Any] = values

    def fault(self, name: str, value: Any, rule: str) -> MessageError:
        return MessageError([InputFault(self._place, name, value, rule)])

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            raise self.fault(name, value, "must be a text")
        return value

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if self.values.get(name) not in (None, "") else None

    def number(self, name: str) -> float:
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fault(name, value, "must be a finite number")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        if name not in self.values:
            raise self.fault(name, None, "must be there: a number or null")
        return None if self.values[name] is None else self.number(name)

    def money(self, name: str) -> Decimal:
        value = self.values.get(name)
        if not isinstance(value, str) or not _MONEY.fullmatch(value):
            raise self.fault(name, value, "must be money as text with two digits behind the point")
        return Decimal(value)

    def whole(self, name: str) -> int:
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fault(name, value, "must be a whole number")
        return value

    def moment(self, name: str) -> datetime:
        text = self.text(name)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise self.fault(name, text, "must be an RFC 3339 time") from error
        if moment.tzinfo is None:
            raise self.fault(name, text, "must carry an offset")
        return moment.astimezone(UTC)

    def items(self, name: str) -> Sequence[Any]:
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self.fault(name, value, "must be a list")
        return value

    def inside(self, name: str) -> list["Fields"]:
        """The objects of a list."""
        return [Fields(f"{self._place}.{name}", each) for each in self.items(name)]
