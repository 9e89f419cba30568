"""Money in messages, and what is said about it: a statement was issued, corrected or settled, or is disputed.

Money is ``Decimal`` to the cent and travels as text: whoever reads it as a binary fraction has lost the cent.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from models.events import Remark
from models.units import Identifier, UtcTime

_CENTS = -2
_MONEY = re.compile(r"^-?[0-9]{1,16}\.[0-9]{2}$")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _read(value: Any) -> Any:
    """Text as it travels becomes a ``Decimal``; a number has lost the cent before anybody could look."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not _MONEY.fullmatch(value):
        raise ValueError(f"must be text with two digits behind the point, such as '12.50' (got {value!r:.120})")
    return Decimal(value)


def _to_the_cent(value: Decimal) -> Decimal:
    if value.as_tuple().exponent != _CENTS:
        raise ValueError(f"must have two digits behind the point (got {str(value)!r})")
    return value + Decimal("0.00")  # there is no -0.00


Cny = Annotated[
    Decimal,
    BeforeValidator(_read),
    Field(allow_inf_nan=False, max_digits=18),
    AfterValidator(_to_the_cent),
    PlainSerializer(lambda value: format(value, "f"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _MONEY.pattern}),
]
"""Money to the cent, text on every wire."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HttpPath = Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=500)]


class StatementTotals(_Frozen):
    """An aggregator's sums in a statement: ``payment + capacity - penalty = net``, ``net - to_users = kept``.

    ``to_users_cny``: what it pays on to its users by its contracts with them.
    """

    payment_cny: Cny
    capacity_cny: Cny
    penalty_cny: Cny
    net_cny: Cny
    to_users_cny: Cny
    kept_cny: Cny

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.payment_cny + self.capacity_cny - self.penalty_cny != self.net_cny:
            raise ValueError(f"net_cny: must be payment + capacity - penalty (got {self.net_cny})")
        if self.net_cny - self.to_users_cny != self.kept_cny:
            raise ValueError(f"kept_cny: must be net - to_users (got {self.kept_cny})")
        return self


class StatementNotice(_Frozen):
    """A statement was issued, corrected or settled.

    ``sha256`` is that of the issued version (``models.settlement.issued``); ``path``: where it is read, over HTTP.
    ``corrects``, ``reason``: those of every version but the first.  ``dispute_until`` None: no more disputes.
    """

    event_id: Identifier
    version: Annotated[int, Field(ge=1)]
    status: Literal["issued", "corrected", "settled"]
    issued_at: UtcTime
    totals: StatementTotals
    sha256: Sha256
    path: HttpPath
    corrects: Annotated[int, Field(ge=1)] | None = None
    reason: Remark = ""
    dispute_until: UtcTime | None = None

    @model_validator(mode="after")
    def _versions(self) -> Self:
        first = self.version == 1
        if self.corrects != (None if first else self.version - 1):
            raise ValueError(f"corrects: must be the version before, and none of version 1 (got {self.corrects})")
        if self.status == ("corrected" if first else "issued"):
            rule = "must be issued for version 1 and corrected for every later one, until it is settled"
            raise ValueError(f"status: {rule} (got {self.status!r})")
        if not first and not self.reason.strip():
            raise ValueError(f"reason: is required for a correction (got {self.reason!r})")
        return self


class Dispute(_Frozen):
    """An aggregator contests a version of a statement: one resource's lines, or (None) all that is its own."""

    event_id: Identifier
    version: Annotated[int, Field(ge=1)]
    resource_id: Identifier | None = None
    reason: Remark

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if not self.reason.strip():
            raise ValueError(f"reason: must say what is wrong (got {self.reason!r})")
        return self
