"""Corrected meter readings: what a dispute brings, in the place of what the statement was made of."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from models.errors import InputError, InputFault
from models.settlement.inputs import SettlementInputs, input_digests
from models.units import Identifier, Kwh, UtcTime


class MeterCorrection(BaseModel):
    """What one resource really drew in one settlement interval; ``source``: where that comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource_id: Identifier
    interval_start: UtcTime
    metered_kwh: Kwh
    source: Annotated[str, Field(min_length=1, max_length=200)]


def with_corrections(
    inputs: SettlementInputs, corrections: Sequence[MeterCorrection], price_cny_per_kwh: Decimal | None = None
) -> SettlementInputs:
    """The same call with other meter readings, and at another price where one is given.

    ``InputError`` names every correction whose resource or interval the call does not have, or that comes twice.
    """
    row_of = {name: row for row, name in enumerate(inputs.resource_ids)}
    place_of = {start: t for t, start in enumerate(inputs.grid.starts)}
    faults, metered = [], inputs.metered_kwh.copy()
    seen: set[tuple[str, object]] = set()
    for number, each in enumerate(corrections):
        row, t = row_of.get(each.resource_id), place_of.get(each.interval_start)
        if row is None:
            rule = "must be a resource of the statement"
            faults.append(InputFault("correction", "resource_id", each.resource_id, rule, number))
        elif t is None:
            rule = f"must be the start of one of its intervals, from {inputs.grid.start.isoformat()} on"
            faults.append(InputFault("correction", "interval_start", each.interval_start.isoformat(), rule, number))
        elif (each.resource_id, each.interval_start) in seen:
            faults.append(InputFault("correction", "interval_start", each.interval_start.isoformat(), "twice", number))
        else:
            metered[row, t] = each.metered_kwh
            seen.add((each.resource_id, each.interval_start))
    if faults:
        raise InputError(faults)
    prices = inputs.clearing_cny_per_kwh
    if price_cny_per_kwh is not None:
        prices = (price_cny_per_kwh,) * len(prices)
    digests = input_digests(
        inputs.grid, inputs.resource_ids, np.asarray(inputs.baseline_kwh), metered, np.asarray(inputs.award_kwh)
    )
    return replace(inputs, metered_kwh=metered, clearing_cny_per_kwh=prices, digests=digests)
