"""Units as annotated numbers: what a field may hold is written where the field is declared.

Sign rule of the whole code base: power is positive when consuming, at every meter and device
(load convention, IEC CIM).  Power is kW and the mean over an interval [start, end); energy is kWh
at the end of an interval; money is CNY; time is aware UTC inside and a named zone only at the edge.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

Kw = Annotated[float, Field(allow_inf_nan=False)]
"""Signed power, kW, positive when consuming."""

NonNegativeKw = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Kwh = Annotated[float, Field(allow_inf_nan=False)]
NonNegativeKwh = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveHours = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Celsius = Annotated[float, Field(ge=-90, le=150, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Efficiency = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
PricePerKwh = Annotated[float, Field(allow_inf_nan=False)]
NonNegativePricePerKwh = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NonNegativeMoney = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$")]
"""Name of a resource, zone, meter account, event ...: printable, no spaces, at most 128 characters."""

_NO_OFFSET = timedelta(0)

AggregatorId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
"""Name of an aggregator: also its MQTT user name and a level of its topics, hence the narrow alphabet."""


def _to_utc(moment: datetime) -> datetime:
    if moment.utcoffset() == _NO_OFFSET:
        return moment.replace(tzinfo=UTC)  # nearly all are: five times faster than astimezone
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:  # pydantic lets it through, and one message would stop the stream
        raise ValueError("must lie inside the years 1 to 9999 in UTC") from error


UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""An instant: must carry an offset at the door (RFC 3339), is UTC afterwards."""
