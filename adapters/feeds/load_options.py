"""The options of reading a load file, the same for a measured curve and a forecast."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Required, TypedDict

Label = Literal["start", "end"]
Unit = Literal["W", "kW", "MW", "GW"]
KW_PER_UNIT: Mapping[str, float] = {"W": 1e-3, "kW": 1.0, "MW": 1e3, "GW": 1e6}


class LoadOptions(TypedDict, total=False):
    """How to read a load file.  Only ``time_zone`` must be given; the rest is guessed, or asked for by an error.

    - ``time_zone``: zone of naive times, unless the column's name says "utc" or ``column_zone`` names
      another;
    - ``time_column``, ``load_column``: by name; ``unit`` of the load column (MW if not given);
    - ``resolution``: as the rows are apart if not given; anything else is an error;
    - ``label``: whether a time labels the start or the end of its interval; by the column's name ("..._end"),
      else start;
    - ``only``: rows where these columns have these values (files in long form);
    - ``suspect_column``: true marks values not to be trusted; a column of the name ``suspect`` is used
      unasked;
    - ``time_format``: of text that is not ISO 8601, as in ``strptime``.
    """

    time_zone: Required[str]
    time_column: str | None
    load_column: str | None
    unit: Unit
    resolution: timedelta | None
    label: Label | None
    column_zone: str | None
    only: Mapping[str, str] | None
    suspect_column: str | None
    time_format: str | None
