"""Events with their versions, plans with their arrays, baseline tables by day."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, delete, or_, select, update

from adapters.store import schema
from adapters.store.arrays import pack_array, pack_edges, pack_ids, unpack_array, unpack_edges, unpack_ids
from adapters.store.connection import Part
from models.errors import InputError, InputFault, StoreError
from models.events import EventRecord, ScopeKind
from models.intervals import FloatArray, IntervalGrid
from models.life_cycle import EventStatus
from models.plan import Admission, DispatchPlan, PlanSource, Requirement, RequirementAmount
from models.records import BaselineTable, PlanFacts, PlanKind, StoredEvent

_NOT_KEPT = b""
"""Stands for the grid and the names of a plan of which only the facts are kept."""
_ARRAYS = ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh")
_NUMBERS = (
    "status",
    "objective_cny",
    "baseline_cost_cny",
    "lower_bound_cny",
    "iterations",
    "wall_s",
    "peak_rss_mb",
)


def _amounts(rows: list[dict[str, Any]]) -> tuple[RequirementAmount, ...]:
    return tuple(
        RequirementAmount(
            Requirement(row["requirement"]),
            ScopeKind(row["scope_kind"]),
            row["scope_id"],
            datetime.fromisoformat(row["interval_start"]),
            row["amount"],
            row["event_id"],
        )
        for row in rows
    )


def _facts(plan: DispatchPlan) -> str:
    """All but the arrays; Python's JSON keeps every float as it is, infinity and NaN too."""
    facts = {name: getattr(plan, name) for name in _NUMBERS}
    facts |= {"source": plan.source.value, "penalties": plan.penalties}
    facts |= {name: [asdict(row) for row in getattr(plan, name)] for name in ("unmet", "prices", "admissions")}
    return json.dumps(facts, default=datetime.isoformat)


class Planning(Part):
    """What was ordered and what was planned."""

    # ---- events

    def save_event(self, record: EventRecord, version: int = 0) -> int:
        """Keep an event; ``version`` is the one it was read under (0: it is new). Returns the new version.

        ``StoreError`` if somebody else has changed it meanwhile: read again and repeat the step.
        """
        table, event = schema.events, record.event
        values = {
            "version": version + 1,
            "status": record.status.value,
            "window_start": event.start,
            "window_end": event.end,
            "record": record.model_dump_json(),
        }
        with self._db.writing() as connection:
            if version == 0:
                statement = self._db.insert(table).values(event_id=event.event_id, **values)
                statement = statement.on_conflict_do_nothing().returning(table.c.event_id)
                changed = len(connection.execute(statement).all())
            else:
                same = and_(table.c.event_id == event.event_id, table.c.version == version)
                changed = connection.execute(update(table).where(same).values(values)).rowcount
        if changed != 1:
            raise StoreError(f"event {event.event_id} is not at version {version} any more: read it again")
        return version + 1

    def update_event(self, event_id: str, change: Callable[[EventRecord], EventRecord]) -> EventRecord:
        """Read, change and save in one transaction; ``InputError`` if there is no such event."""
        with self._db.writing() as connection:
            if not self._db.is_sqlite:
                locked = select(schema.events.c.event_id).where(schema.events.c.event_id == event_id)
                connection.execute(locked.with_for_update())
            stored = self.event(event_id)
            if stored is None:
                raise InputError([InputFault("events", "event_id", event_id, "is not known")])
            changed = change(stored.record)
            self.save_event(changed, stored.version)
        return changed

    def event(self, event_id: str) -> StoredEvent | None:
        """One event with its version."""
        table = schema.events
        with self._db.reading() as connection:
            row = connection.execute(select(table).where(table.c.event_id == event_id)).one_or_none()
        return None if row is None else StoredEvent(EventRecord.model_validate_json(row.record), row.version)

    def events(
        self,
        status: EventStatus | Collection[EventStatus] | None = None,
        since: datetime | None = None,
        *,
        before: tuple[datetime, str] | None = None,
        limit: int | None = None,
    ) -> list[EventRecord]:
        """Events, latest window first; ``since``: whose window ends later than that.

        ``before`` (start and id of the last event seen) and ``limit`` make pages.
        """
        table = schema.events
        query = select(table.c.record).order_by(table.c.window_start.desc(), table.c.event_id.desc())
        if status is not None:
            wanted = [status] if isinstance(status, EventStatus) else status
            query = query.where(table.c.status.in_([each.value for each in wanted]))
        if since is not None:
            query = query.where(table.c.window_end > since)
        if before is not None:
            start, name = before
            same = and_(table.c.window_start == start, table.c.event_id < name)
            query = query.where(or_(table.c.window_start < start, same))
        with self._db.reading() as connection:
            rows = connection.execute(query.limit(limit)).scalars().all()
        return [EventRecord.model_validate_json(row) for row in rows]

    # ---- plans

    def save_plan(self, kind: PlanKind | str, market_day: date, plan: DispatchPlan, *, whole: bool = True) -> None:
        """Keep a plan; ``plan.made_at`` must be set, since that is how it is found again.

        ``whole`` false: only what it came to, under its fingerprint; the schedule is not kept.
        """
        if plan.made_at is None:
            raise InputError([InputFault("plan", "made_at", None, "must be set before a plan is stored")])
        values = {
            "kind": PlanKind(kind).value,
            "market_day": market_day.isoformat(),
            "made_at": plan.made_at,
            "plan_hash": plan.plan_hash,
            "facts": _facts(plan),
            "edges": pack_edges(plan.grid) if whole else _NOT_KEPT,
            "resource_ids": pack_ids(plan.resource_ids) if whole else _NOT_KEPT,
        }
        with self._db.writing() as connection:
            insert = schema.plans.insert().values(values).returning(schema.plans.c.plan_key)
            key = connection.execute(insert).scalar_one()
            if whole:
                arrays = {name: getattr(plan, name) for name in _ARRAYS}
                _save_parts(connection, schema.plan_parts, "plan_key", key, arrays)

    def keep_real_time_plan(self, plan: DispatchPlan, keep: int = 4, *, whole: bool = True) -> None:
        """Keep a plan of real time, and of those before only the newest as a whole, ``keep`` in all: that is for a
        restart.  What the others came to stays under their fingerprints, which their commands bear.
        """
        if plan.made_at is None:
            raise InputError([InputFault("plan", "made_at", None, "must be set before a plan is stored")])
        table, parts = schema.plans, schema.plan_parts
        is_whole = table.c.kind == PlanKind.REAL_TIME.value, table.c.edges != _NOT_KEPT
        newest_first = select(table.c.plan_key).where(*is_whole).order_by(table.c.plan_key.desc())
        with self._db.writing() as connection:
            self.save_plan(PlanKind.REAL_TIME, plan.made_at.date(), plan, whole=whole)
            for key in connection.execute(newest_first.offset(keep)).scalars().all():
                connection.execute(delete(parts).where(parts.c.plan_key == key))
                nothing = {"edges": _NOT_KEPT, "resource_ids": _NOT_KEPT}
                connection.execute(update(table).where(table.c.plan_key == key).values(nothing))

    def plan_delivered(self, plan_hash: str, at: datetime) -> None:
        """Note that every order of the newest plan with that fingerprint has left or waits to be sent again."""
        table = schema.plans
        newest = select(table.c.plan_key, table.c.facts).where(table.c.plan_hash == plan_hash)
        with self._db.writing() as connection:
            row = connection.execute(newest.order_by(table.c.plan_key.desc()).limit(1)).one_or_none()
            if row is not None:
                facts = {**json.loads(row.facts), "delivered_at": at.isoformat()}
                change = update(table).where(table.c.plan_key == row.plan_key)
                connection.execute(change.values(facts=json.dumps(facts)))

    def plan_facts(self, plan_hash: str) -> PlanFacts | None:
        """What the newest plan with that fingerprint came to; known as long as its commands, whole or not."""
        table = schema.plans
        return self._facts_of(select(table).where(table.c.plan_hash == plan_hash))

    def newest_plan_facts(self, kind: PlanKind) -> PlanFacts | None:
        """What the newest plan of that kind came to, whole or not."""
        table = schema.plans
        return self._facts_of(select(table).where(table.c.kind == kind.value))

    def _facts_of(self, query: Any) -> PlanFacts | None:
        with self._db.reading() as connection:
            newest = query.order_by(schema.plans.c.plan_key.desc()).limit(1)
            row: Row[Any] | None = connection.execute(newest).one_or_none()
        if row is None:
            return None
        facts = json.loads(row.facts)
        delivered_at = facts.get("delivered_at")
        return PlanFacts(
            plan_hash=row.plan_hash,
            kind=PlanKind(row.kind),
            made_at=row.made_at,
            source=PlanSource(facts["source"]),
            status=facts["status"],
            objective_cny=facts["objective_cny"],
            lower_bound_cny=facts["lower_bound_cny"],
            delivered_at=None if delivered_at is None else datetime.fromisoformat(delivered_at),
        )

    def latest_plan(self, kind: PlanKind | str, at: datetime | None = None) -> DispatchPlan | None:
        """The plan of that kind made last, not later than ``at``."""
        table = schema.plans
        query = select(table).where(table.c.kind == PlanKind(kind).value)
        if at is not None:
            query = query.where(table.c.made_at <= at)
        return self._plan(query.order_by(table.c.made_at.desc(), table.c.plan_key.desc()).limit(1))

    def plan_by_hash(self, plan_hash: str) -> DispatchPlan | None:
        """The plan whose schedule has that fingerprint (the newest if two are equal)."""
        table = schema.plans
        return self._plan(
            select(table).where(table.c.plan_hash == plan_hash).order_by(table.c.plan_key.desc()).limit(1)
        )

    def plan_of_day(self, market_day: date) -> DispatchPlan | None:
        """The newest day-ahead plan of a market day."""
        table = schema.plans
        of_day = table.c.kind == PlanKind.DAY_AHEAD.value, table.c.market_day == market_day.isoformat()
        return self._plan(select(table).where(*of_day).order_by(table.c.plan_key.desc()).limit(1))

    def first_planned_at(self, market_day: date) -> datetime | None:
        """When the first day-ahead plan of a market day was made, and its baseline table with it."""
        table = schema.plans
        of_day = table.c.kind == PlanKind.DAY_AHEAD.value, table.c.market_day == market_day.isoformat()
        query = select(table.c.made_at).where(*of_day).order_by(table.c.plan_key).limit(1)
        with self._db.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def _plan(self, query: Any) -> DispatchPlan | None:
        with self._db.reading() as connection:
            whole = query.where(schema.plans.c.edges != _NOT_KEPT)
            row: Row[Any] | None = connection.execute(whole).one_or_none()
            if row is None:
                return None
            grid, resource_ids = unpack_edges(row.edges), unpack_ids(row.resource_ids)
            shape = (len(resource_ids), len(grid))
            arrays = _load_parts(connection, schema.plan_parts, "plan_key", row.plan_key, shape)
        facts = json.loads(row.facts)
        return DispatchPlan(
            grid=grid,
            resource_ids=resource_ids,
            power_kw=arrays["power_kw"],
            energy_kwh=arrays["energy_kwh"],
            baseline_kw=arrays["baseline_kw"],
            baseline_energy_kwh=arrays["baseline_energy_kwh"],
            status=facts["status"],
            objective_cny=facts["objective_cny"],
            baseline_cost_cny=facts["baseline_cost_cny"],
            lower_bound_cny=facts["lower_bound_cny"],
            iterations=facts["iterations"],
            wall_s=facts["wall_s"],
            peak_rss_mb=facts["peak_rss_mb"],
            source=PlanSource(facts["source"]),
            penalties=facts["penalties"],
            unmet=_amounts(facts["unmet"]),
            prices=_amounts(facts["prices"]),
            admissions=tuple(Admission(**each) for each in facts["admissions"]),
            made_at=row.made_at,
        )

    # ---- baselines

    def save_baseline(
        self,
        market_day: date,
        grid: IntervalGrid,
        resource_ids: tuple[str, ...],
        baseline_kw: FloatArray,
        baseline_hash: str,
    ) -> None:
        """Keep the baseline table (R, T) of a market day; the same again changes nothing, older ones stay."""
        table = schema.baselines
        values = {
            "market_day": market_day.isoformat(),
            "baseline_hash": baseline_hash,
            "edges": pack_edges(grid),
            "resource_ids": pack_ids(resource_ids),
        }
        with self._db.writing() as connection:
            insert = self._db.insert(table).values(values).on_conflict_do_nothing().returning(table.c.baseline_key)
            key = connection.execute(insert).scalar_one_or_none()
            if key is not None:
                _save_parts(connection, schema.baseline_parts, "baseline_key", key, {"baseline_kw": baseline_kw})

    def baseline(self, market_day: date, baseline_hash: str | None = None) -> BaselineTable | None:
        """The newest baseline table of a market day, or the one with that hash (pinned at approval)."""
        table = schema.baselines
        query = select(table).where(table.c.market_day == market_day.isoformat())
        if baseline_hash is not None:
            query = query.where(table.c.baseline_hash == baseline_hash)
        with self._db.reading() as connection:
            row = connection.execute(query.order_by(table.c.baseline_key.desc()).limit(1)).one_or_none()
            if row is None:
                return None
            grid, resource_ids = unpack_edges(row.edges), unpack_ids(row.resource_ids)
            shape = (len(resource_ids), len(grid))
            arrays = _load_parts(connection, schema.baseline_parts, "baseline_key", row.baseline_key, shape)
        return BaselineTable(market_day, grid, resource_ids, arrays["baseline_kw"], row.baseline_hash)


def _save_parts(connection: Connection, table: Table, owner: str, key: int, arrays: Mapping[str, FloatArray]) -> None:
    for name, values in arrays.items():
        for part, body in enumerate(pack_array(values)):
            connection.execute(table.insert().values({owner: key, "array": name, "part": part, "body": body}))


def _load_parts(
    connection: Connection, table: Table, owner: str, key: int, shape: tuple[int, int]
) -> dict[str, FloatArray]:
    found: dict[str, dict[int, bytes]] = {}
    for row in connection.execute(select(table).where(table.c[owner] == key)):
        found.setdefault(row.array, {})[row.part] = row.body
    return {name: unpack_array(parts, shape) for name, parts in found.items()}
