"""Who can be counted on: after every cycle each device is judged, set aside if it must be, and taken back by itself.

    judge      suspicions of the cycle that has ended; as many running as it takes, and the device is in quarantine
    learn      how much of what it was ordered each device really does (``models.conduct``): dispatch counts on that
    take back  who behaves again for ``CLEAN_CYCLES``; whose fault shows only under orders is tried again after a while

In quarantine a device gets no orders and no plan counts on it, so its part is bought from others in the next cycle.
What a meter in quarantine says is not counted as delivered either.  Each coming and going is in the audit log.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import structlog
from numpy.typing import NDArray

from adapters.store.store import Store
from models.conduct import (
    SHOWS_UNDER_ORDERS,
    STRIKES,
    ConductRecord,
    CycleEvidence,
    Misconduct,
    forget_and_learn,
    reliability_fraction,
    suspicions,
)
from models.errors import StoreError
from models.intervals import FloatArray
from models.moments import microseconds, moment_of
from models.resources import ResourceKind, ShiftableLoad
from vpp.heard import NEVER_US
from vpp.meter_spells import SET_ASIDE, TAKEN_BACK
from vpp.metrics import Metrics
from vpp.ramp_up import RAMP_TIME
from vpp.state import LiveState

log = structlog.get_logger(__name__)

CLEAN_CYCLES = 2
"""So many cycles without suspicion, and a device whose fault shows without orders is back."""
FIRST_TRIAL, LONGEST_TRIAL = timedelta(minutes=30), timedelta(hours=4)
"""A device whose fault shows only under orders is tried again after so long; twice as long each time it fails."""
FORGIVEN_AFTER = timedelta(hours=24)
"""Earlier quarantines count no more after so long in freedom."""
VARIES_AFTER, VARIES_REPEATS = 24, 0.02
"""A meter of which so many readings are known varies if at most this share of them repeated the one before."""

FULL_WITHIN_KWH, FULL_WITHIN_SHARE = 0.5, 0.03
"""A car that has got its energy but for so much (of what it needed) may be full: its charger's meter is no better."""

OWN_CLOCK_SHARE = 0.5
"""Where more devices than this seem to have wrong clocks at once, ours is the wrong one, and nobody is blamed."""
SHOWS_BY_ITSELF = (Misconduct.SILENT, Misconduct.CLOCK_SKEW)
"""Whether these are over can be seen without giving an order."""

KEPT_WITHIN = 0.05
"""A ρ or a state of health is kept anew when it has moved by so much since it was kept last: a million devices do not
write every cycle."""

MOST_KEPT = 20_000
"""So many are kept at once, the others with the next cycle: one evening of a large fleet teaches all its batteries."""

_ROWS: dict[str, tuple[str, float | int]] = {
    "suspected": ("i8", 0),
    "strikes": ("i8", 0),
    "clean": ("i8", 0),
    "times": ("i8", 0),
    "trial_us": ("i8", NEVER_US),
    "free_since_us": ("i8", NEVER_US),
    "before_kw": ("f8", np.nan),
    "share_sum": ("f8", 0.0),
    "weight_sum": ("f8", 0.0),
    "kept_fraction": ("f8", np.nan),
    "kept_health": ("f8", np.nan),
    "was_moved": ("?", False),
}


class ConductStage:
    """Judges the devices of ``state``; what it remembers of each stands by row, as in ``HeardColumns``."""

    suspected: NDArray[np.int64]
    strikes: NDArray[np.int64]
    clean: NDArray[np.int64]
    times: NDArray[np.int64]
    trial_us: NDArray[np.int64]
    free_since_us: NDArray[np.int64]
    before_kw: FloatArray
    share_sum: FloatArray
    weight_sum: FloatArray
    kept_fraction: FloatArray
    kept_health: FloatArray
    was_moved: NDArray[np.bool_]

    def __init__(self, *, state: LiveState, cycle: timedelta, metrics: Metrics, store: Store) -> None:
        self._state = state
        self._cycle = cycle
        self._strikes = STRIKES.copy()
        self._strikes[Misconduct.NO_RESPONSE] = max(STRIKES[Misconduct.NO_RESPONSE], -(-RAMP_TIME // cycle))
        self._metrics = metrics
        self._store = store
        self._lines: dict[tuple[datetime, str, str], list[str]] = {}
        """Not in the audit log yet: when and what happened to whom, and why."""
        self._records: dict[str, ConductRecord] = {}
        self.blind_until: datetime | None = None
        """Nobody is judged before: our own clock has just been set, and no age means anything."""
        for name, (kind, nothing) in _ROWS.items():
            setattr(self, name, np.full(0, nothing, dtype=kind))

    async def after_cycle(self, start: datetime, baseline_kw: Mapping[str, float]) -> None:
        """Judge the cycle that ended at ``start``; ``baseline_kw``: b over it, by resource."""
        self._grow()
        if self.blind_until is not None and start < self.blind_until:
            return
        live = [each for each in self._state if each.resource_id in baseline_kw]
        rows = np.array([each.row for each in live], dtype=np.int64)
        if not len(rows):
            return
        values = np.array([baseline_kw[each.resource_id] for each in live], dtype=np.float64)
        seen = self._evidence(rows, values, start)
        found = suspicions(seen)
        skewed = found == Misconduct.CLOCK_SKEW
        if skewed.sum() > max(1.0, OWN_CLOCK_SHARE * len(rows)):  # then it is ours
            log.error("most devices tell another time than we do: our clock is off", devices=int(skewed.sum()))
            found[skewed] = Misconduct.NONE
        self._learn(rows, seen, found)
        changed = [*self._set_aside(rows, seen, found, start), *self._take_back(rows, found, start)]
        self._tell(changed, start)
        self._show()
        await self._keep(rows, [row for row, _ in changed])

    async def _keep(self, rows: NDArray[np.int64], changed: Sequence[int]) -> None:
        self._records |= {record.resource_id: record for record in self._to_keep(rows, changed)}
        if self._lines or self._records:
            try:
                await asyncio.to_thread(self._write)
            except StoreError as error:  # the next cycle tries again: dispatch does not wait for the database
                log.warning("conduct is not kept yet", error=str(error), resources=len(self._records))

    def take_up(self, records: Iterable[ConductRecord]) -> None:
        """Go on with what was known before a restart."""
        self._grow()
        heard = self._state.columns
        for record in records:
            live = self._state.get(record.resource_id)
            if live is None:
                continue
            row = live.row
            self.share_sum[row], self.weight_sum[row] = record.share_sum, record.weight_sum
            self.times[row] = record.times
            heard.flowed_kwh[row], heard.told_kwh[row] = record.flowed_kwh, record.told_kwh
            if record.quarantined_at is not None and record.trial_at is not None:
                heard.misconduct[row] = record.misconduct
                heard.quarantined_us[row] = microseconds(record.quarantined_at)
                self.trial_us[row] = microseconds(record.trial_at)
        everyone = self._state.everyone
        self.kept_fraction[everyone] = self._fractions(everyone)
        self.kept_health[everyone] = self._health(everyone)

    async def keep(self) -> None:
        """Write what has been learned since it was last written; what fails is tried again with the next cycle."""
        self._grow()
        await self._keep(self._state.everyone, [])

    def reliability(self) -> dict[str, float]:
        """ρ of every resource that was ever moved by an order, by id: for the dispatch problem."""
        self._grow()
        known = [each for each in self._state if self.weight_sum[each.row] > 0]
        learned = self._fractions(np.array([each.row for each in known], dtype=np.int64))
        return {each.resource_id: float(value) for each, value in zip(known, learned, strict=True)}

    def fractions(self, rows: NDArray[np.int64]) -> FloatArray:
        """ρ of the resources of these rows of the live state, (n,)."""
        self._grow()
        return self._fractions(rows)

    def of(self, resource_id: str) -> tuple[Misconduct, datetime | None, float | None]:
        """Why a resource is in quarantine (``NONE``: it is not), since when, and its ρ (None: not registered)."""
        live = self._state.get(resource_id)
        if live is None:
            return Misconduct.NONE, None, None
        self._grow()
        reason = Misconduct(int(self._state.columns.misconduct[live.row]))
        return reason, live.quarantined_since, float(self._fractions(np.array([live.row]))[0])

    def state_of_health(self, resource_id: str) -> float | None:
        """Share of its nameplate that a battery is taken to hold; None for what is no battery, or not registered."""
        live = self._state.get(resource_id)
        if live is None or live.kind is not ResourceKind.STORAGE:
            return None
        return float(self._state.health.share(np.array([live.row]))[0])

    def in_quarantine(self, aggregator_id: str | None = None) -> list[str]:
        """Ids of all who are in quarantine, in order; of one aggregator if it is named."""
        rows = np.flatnonzero(self._state.columns.misconduct != Misconduct.NONE)
        found = (self._state.at(row) for row in rows.tolist())
        return sorted(
            live.resource_id
            for live in found
            if live is not None and (aggregator_id is None or live.record.aggregator_id == aggregator_id)
        )

    # ---- pieces

    def _grow(self) -> None:
        wanted, known = len(self._state.columns.measured_us), len(self.suspected)
        for name, (kind, nothing) in _ROWS.items() if wanted > known else ():
            more = np.full(wanted - known, nothing, dtype=kind)
            setattr(self, name, np.concatenate([getattr(self, name), more]))

    def _evidence(self, rows: NDArray[np.int64], baseline_kw: FloatArray, start: datetime) -> CycleEvidence:
        heard, now_us = self._state.columns, microseconds(start)
        # a charger without a car, or whose car is full by its own meter, has nothing to do, whatever it was told
        needed_kwh, missing_kwh = heard.session_needed_kwh, heard.session_needed_kwh - heard.session_delivered_kwh
        is_full = missing_kwh <= np.maximum(FULL_WITHIN_KWH, FULL_WITHIN_SHARE * needed_kwh)
        idle = heard.is_charger & (~heard.has_session | is_full)
        ordered = np.where(idle[rows], np.nan, heard.ordered_kw[rows])
        ordered = np.where(heard.ordered_until_us[rows] >= now_us, ordered, np.nan)
        for place in np.flatnonzero(heard.is_process[rows]).tolist():
            live = self._state.at(int(rows[place]))
            load = live.record.resource if live is not None else None
            if live is not None and isinstance(load, ShiftableLoad):
                live.work.after_cycle(load, start, float(ordered[place]), float(heard.power_kw[rows[place]]))
                if not np.isnan(ordered[place]) and live.work.can_be_done(load, start):
                    ordered[place] = np.nan
        recent = (heard.unusable_us[rows] != NEVER_US) & (now_us - heard.unusable_us[rows] <= self._cycle_us)
        known = heard.heard_count[rows] >= VARIES_AFTER
        return CycleEvidence(
            baseline_kw=baseline_kw,
            ordered_kw=ordered,
            metered_kw=heard.power_kw[rows],
            before_kw=self.before_kw[rows],
            connected_kw=np.nan_to_num(heard.connected_kw[rows]),
            measured_age_s=_age_s(heard.measured_us[rows], now_us),
            received_age_s=_age_s(heard.received_us[rows], now_us),
            patience_s=np.maximum(heard.ttl_us[rows], self._cycle_us) / 1e6,
            repeats=heard.repeats[rows],
            varies=known & (heard.repeat_count[rows] <= VARIES_REPEATS * heard.heard_count[rows]),
            unusable=np.where(recent, heard.unusable[rows], 0),
            may_draw=heard.may_draw[rows],
            may_feed_in=heard.may_feed_in[rows],
            cycle_s=self._cycle.total_seconds(),
        )

    @property
    def _cycle_us(self) -> int:
        return self._cycle // timedelta(microseconds=1)

    def _learn(self, rows: NDArray[np.int64], seen: CycleEvidence, found: NDArray[np.int64]) -> None:
        moved = seen.ordered_change_kw != 0
        # the first cycle of an order holds the ramp; a meter that lies says nothing of its device
        meter_lies = np.isin(found, [each for each in Misconduct if each.is_of_the_meter])
        counts = self.was_moved[rows] & ~meter_lies
        self.share_sum[rows], self.weight_sum[rows] = forget_and_learn(
            self.share_sum[rows], self.weight_sum[rows], seen, counts
        )
        begins = moved | self._state.columns.begins_early[rows]  # told to begin with its next order in this cycle
        self.before_kw[rows] = np.where(begins, self.before_kw[rows], seen.metered_kw)
        self.was_moved[rows] = moved

    def _set_aside(
        self, rows: NDArray[np.int64], seen: CycleEvidence, found: NDArray[np.int64], start: datetime
    ) -> list[tuple[int, str]]:
        """Count strikes; who has enough of them goes into quarantine."""
        heard, now_us = self._state.columns, microseconds(start)
        unseen = (found == 0) & (seen.ordered_change_kw == 0) & np.isin(self.suspected[rows], SHOWS_UNDER_ORDERS)
        found = np.where(unseen, self.suspected[rows], found)
        same = (found == self.suspected[rows]) & ~unseen
        again = np.where(unseen, self.strikes[rows], np.where(same, self.strikes[rows] + 1, 1))
        self.strikes[rows] = np.where(found == 0, 0, again)
        self.suspected[rows] = found
        free = heard.misconduct[rows] == 0
        certain = rows[free & (found != 0) & (self.strikes[rows] >= self._strikes[found])]
        certain = certain[heard.measured_us[certain] != NEVER_US]  # who was never heard of has not fallen silent
        forgiven = (self.free_since_us[certain] != NEVER_US) & (
            now_us - self.free_since_us[certain] > FORGIVEN_AFTER // timedelta(microseconds=1)
        )
        self.times[certain] = np.where(forgiven, 1, self.times[certain] + 1)
        heard.misconduct[certain] = self.suspected[certain]
        heard.quarantined_us[certain] = now_us
        self.clean[certain] = 0
        for row in certain.tolist():
            wait = min(FIRST_TRIAL * 2 ** (min(int(self.times[row]), 8) - 1), LONGEST_TRIAL)
            self.trial_us[row] = now_us + wait // timedelta(microseconds=1)
        return [(row, SET_ASIDE) for row in certain.tolist()]

    def _take_back(self, rows: NDArray[np.int64], found: NDArray[np.int64], start: datetime) -> list[tuple[int, str]]:
        """Who behaves again, or is to be tried again, leaves quarantine."""
        heard, now_us = self._state.columns, microseconds(start)
        aside = heard.misconduct[rows] != 0
        earlier = aside & (heard.quarantined_us[rows] < now_us)
        self.clean[rows] = np.where(earlier & (found == 0), self.clean[rows] + 1, 0)
        behaves = self.clean[rows] >= CLEAN_CYCLES
        by_itself = np.isin(heard.misconduct[rows], [int(each) for each in SHOWS_BY_ITSELF])
        moves_again = (heard.misconduct[rows] == Misconduct.FROZEN_METER) & (heard.repeats[rows] == 0)
        due = now_us >= self.trial_us[rows]
        back = rows[earlier & behaves & (by_itself | moves_again | due)]
        lines = [(row, TAKEN_BACK) for row in back.tolist()]
        self.suspected[back] = heard.misconduct[back]  # for the audit line; nothing is held against it any more
        heard.misconduct[back] = 0
        self.strikes[back], self.clean[back] = 0, 0
        self.free_since_us[back] = now_us
        return lines

    def _fractions(self, rows: NDArray[np.int64]) -> FloatArray:
        registered = self._state.columns.registered_reliability[rows]
        return reliability_fraction(registered, self.share_sum[rows], self.weight_sum[rows])

    def _health(self, rows: NDArray[np.int64]) -> FloatArray:
        """State of health of the batteries among ``rows`` that are known by themselves, else NaN, (n,)."""
        health = self._state.health
        return np.where(health.is_known(rows), health.share(rows), np.nan)

    def _to_keep(self, rows: NDArray[np.int64], changed: Sequence[int]) -> list[ConductRecord]:
        """What is to be kept of who came, went, or is known better by now."""
        now, health = self._fractions(rows), self._health(rows)
        moved = (self.weight_sum[rows] > 0) & ~(np.abs(now - self.kept_fraction[rows]) < KEPT_WITHIN)
        moved |= ~np.isnan(health) & ~(np.abs(health - self.kept_health[rows]) < KEPT_WITHIN)
        kept = np.flatnonzero(moved)[:MOST_KEPT]
        self.kept_fraction[rows[kept]], self.kept_health[rows[kept]] = now[kept], health[kept]
        heard, made = self._state.columns, []
        for row in sorted({*rows[kept].tolist(), *changed}):
            live = self._state.at(row)
            if live is not None:
                aside = heard.misconduct[row] != 0
                made.append(
                    ConductRecord(
                        live.resource_id,
                        float(self.share_sum[row]),
                        float(self.weight_sum[row]),
                        Misconduct(int(heard.misconduct[row])),
                        live.quarantined_since,
                        moment_of(int(self.trial_us[row])) if aside else None,
                        int(self.times[row]),
                        float(heard.flowed_kwh[row]),
                        float(heard.told_kwh[row]),
                    )
                )
        return made

    def _tell(self, changed: Sequence[tuple[int, str]], at: datetime) -> None:
        """Note who comes or goes: one line for all of the same reason, for a silent gateway is many devices."""
        groups: dict[tuple[datetime, str, str], list[str]] = {}
        for row, what in changed:
            live = self._state.at(row)
            if live is not None:
                reason = Misconduct(int(self.suspected[row])).name.lower()
                groups.setdefault((at, what, reason), []).append(live.resource_id)
        for (_, what, reason), names in sorted(groups.items()):
            log.info(what, reason=reason, resources=len(names), first=sorted(names)[:3])
        self._lines |= groups

    def _write(self) -> None:
        with self._store.transaction():
            self._store.save_conduct(list(self._records.values()))
            for (at, what, reason), names in sorted(self._lines.items()):
                self._store.append_audit(at, "service", what, reason, {"resource_ids": sorted(names)})
        self._lines.clear()
        self._records.clear()

    def _show(self) -> None:
        everyone = self._state.columns.misconduct[self._state.everyone]
        counts = Counter(everyone.tolist())
        for kind in Misconduct:
            if kind is not Misconduct.NONE:
                self._metrics.quarantined.labels(reason=kind.name.lower()).set(counts.get(int(kind), 0))


def _age_s(moment_us: NDArray[np.int64], now_us: int) -> FloatArray:
    known = moment_us != NEVER_US
    return np.where(known, (now_us - np.where(known, moment_us, 0)) / 1e6, np.inf)
