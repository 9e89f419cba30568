"""What a call is settled from: baselines, readings and awards per resource and interval, checked at the door."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.canonical import sha256_of
from models.errors import InputError, InputFault
from models.events import Direction
from models.intervals import FloatArray, IntervalGrid
from models.settlement.exact import EXACT, MICRO_PER_CNY, IntArray, wh
from models.settlement.performance import clock_hours
from models.settlement.rules.schema import Rule, Stage

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SettlementInputs:
    """One call, or all alike of a market day: R resources, T intervals.

    What a rule nets over the day is netted over what is given together: two windows of a day belong on one grid, with
    awards of 0 between them.
    ``aggregator_ids``: (R,), None for who deals directly; ``protected``: (R,), users under protection (民生).
    ``baseline_kwh``, ``metered_kwh``, ``award_kwh``: (R, T) energy of each interval; an interval without award of a
    resource is no part of its call.  An aggregator's award is the sum of its resources': decompose first.
    ``clearing_cny_per_kwh``: (T,), the same inside a clock hour.  ``digests``: (R,), sha256 of what each resource is
    settled from (``input_digests``), which its lines carry.
    """

    event_id: str
    grid: IntervalGrid
    zone: ZoneInfo
    stage: Stage
    direction: Direction
    resource_ids: tuple[str, ...]
    aggregator_ids: tuple[str | None, ...]
    protected: NDArray[np.bool_]
    baseline_kwh: FloatArray
    metered_kwh: FloatArray
    award_kwh: FloatArray
    clearing_cny_per_kwh: tuple[Decimal, ...]
    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        faults = [InputFault(self.event_id, *fault) for fault in (*self._odd_shapes(), *self._odd_values())]
        if faults:
            raise InputError(faults)
        least = int(self.award_wh.min(initial=0))
        if least < 0:
            raise InputError([InputFault(self.event_id, "award_kwh", least / 1000, "must not be negative")])

    def _odd_shapes(self) -> Iterator[tuple[str, Any, str]]:
        rows, columns = len(self.resource_ids), len(self.grid)
        lengths = {"aggregator_ids": rows, "protected": rows, "digests": rows, "clearing_cny_per_kwh": columns}
        for name, wanted in lengths.items():
            if len(getattr(self, name)) != wanted:
                yield name, len(getattr(self, name)), f"length must be {wanted}"
        for name in ("baseline_kwh", "metered_kwh", "award_kwh"):
            shape = np.shape(getattr(self, name))
            if shape != (rows, columns):
                yield name, shape, f"shape must be {(rows, columns)}"

    def _odd_values(self) -> Iterator[tuple[str, Any, str]]:
        if len(set(self.resource_ids)) != len(self.resource_ids):
            twice = Counter(self.resource_ids).most_common(1)[0][0]
            yield "resource_ids", twice, "each resource must stand once"
        for price in self.clearing_cny_per_kwh:
            if not price.is_finite() or abs(price) > 100:
                yield "clearing_cny_per_kwh", str(price), "must be within ±100 CNY/kWh"
        for digest in self.digests:
            if not _DIGEST.fullmatch(digest):
                yield "digests", digest, "must be a sha256 in lower-case hex"

    def check_exact(self, largest_factor: float, dearest_micro: int) -> None:
        """``InputError`` where the sums of this call would leave whole numbers of 64 bits.

        ``largest_factor``: what a rule counts at most for a Wh; ``dearest_micro``: its highest price, µCNY/kWh.
        """
        change = np.abs(self.baseline_wh - self.metered_wh).sum(dtype=np.float64)
        most = float(change + self.award_wh.sum(dtype=np.float64)) * max(largest_factor, 1.0)
        limit = EXACT // max(dearest_micro, MICRO_PER_CNY)
        if most > limit:
            raise InputError([InputFault(self.event_id, "energy", most, f"sum must be at most {limit} Wh to be exact")])

    @cached_property
    def baseline_wh(self) -> IntArray:
        """(R, T)."""
        return wh(self.baseline_kwh, "baseline_kwh")

    @cached_property
    def metered_wh(self) -> IntArray:
        """(R, T)."""
        return wh(self.metered_kwh, "metered_kwh")

    @cached_property
    def award_wh(self) -> IntArray:
        """(R, T)."""
        return wh(self.award_kwh, "award_kwh")

    def in_order(self) -> "SettlementInputs":
        """The same call with its resources in the order of their ids: a statement does not depend on theirs."""
        order = sorted(range(len(self.resource_ids)), key=self.resource_ids.__getitem__)
        return replace(
            self,
            resource_ids=tuple(self.resource_ids[k] for k in order),
            aggregator_ids=tuple(self.aggregator_ids[k] for k in order),
            protected=self.protected[order],
            baseline_kwh=self.baseline_kwh[order],
            metered_kwh=self.metered_kwh[order],
            award_kwh=self.award_kwh[order],
            digests=tuple(self.digests[k] for k in order),
        )


@dataclass(frozen=True)
class Periods:
    """The P periods that a rule assesses: ``first``: (P,), the interval that each begins with; ``days``: (P,)."""

    spans: tuple[tuple[datetime, datetime], ...]
    first: NDArray[np.intp]
    days: tuple[date, ...]
    clearing_cny_per_kwh: tuple[Decimal, ...]

    def total(self, amounts: IntArray) -> IntArray:
        """Sums over the intervals of each period, (…, T) → (…, P)."""
        return np.asarray(np.add.reduceat(amounts, self.first, axis=-1), dtype=np.int64)

    def most(self, amounts: IntArray) -> IntArray:
        """Largest of each period, (…, T) → (…, P)."""
        return np.asarray(np.maximum.reduceat(amounts, self.first, axis=-1), dtype=np.int64)


def periods_of(inputs: SettlementInputs, rule: Rule) -> Periods:
    """Clock hours of the market's zone, or the whole call, as the rule says."""
    grid, fault = inputs.grid, inputs.event_id
    whole_call = rule.period == "event"
    spans = [(grid.start, grid.end)] if whole_call else clock_hours(grid.start, grid.end, inputs.zone)
    starts = {start: k for k, start in enumerate(grid.starts)}
    astray = [start for start, _ in spans if start not in starts]
    if astray:
        rule_text = "a settlement interval must not cross the full hour"
        raise InputError([InputFault(fault, "grid", astray[0].isoformat(), rule_text)])
    first = [starts[start] for start, _ in spans]
    prices = []
    for begin, end in zip(first, [*first[1:], len(grid)], strict=True):
        inside = inputs.clearing_cny_per_kwh[begin:end]
        if len(set(inside)) > 1:
            rule_text = f"must be one price from {grid.starts[begin].isoformat()} on: {rule.name} assesses that as one"
            raise InputError([InputFault(fault, "clearing_cny_per_kwh", [str(price) for price in inside], rule_text)])
        prices.append(inside[0])
    days = tuple(start.astimezone(inputs.zone).date() for start, _ in spans)
    return Periods(tuple(spans), np.array(first), days, tuple(prices))


def input_digests(
    grid: IntervalGrid,
    resource_ids: Sequence[str],
    baseline_kwh: FloatArray,
    metered_kwh: FloatArray,
    award_kwh: FloatArray,
) -> tuple[str, ...]:
    """For every resource the sha256 over canonical JSON of what it is settled from, in whole Wh.

    Canonical: ASCII, keys in order, no spaces, times in RFC 3339 with +00:00.  Whoever holds the readings of one
    resource can compute it without those of the others.
    """
    edges = [edge.isoformat() for edge in grid.edges]
    columns = [wh(baseline_kwh, "baseline_kwh"), wh(metered_kwh, "metered_kwh"), wh(award_kwh, "award_kwh")]
    digests = []
    for name, base, load, award in zip(resource_ids, *(column.tolist() for column in columns), strict=True):
        content = {"award_wh": award, "baseline_wh": base, "edges": edges, "metered_wh": load, "resource_id": name}
        digests.append(sha256_of(content))
    return tuple(digests)
