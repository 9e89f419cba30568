"""Commands: what was sent to whom, of which plan, how often, and what was answered."""

from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel

from models.records import CommandRecord, UserRecord
from models.units import AggregatorId, UtcTime
from vpp.api.access import ALL, Service, allowed, own_only
from vpp.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from vpp.api.problems import documented

router = APIRouter(prefix="/api/v1", responses=documented(401, 403, 422, 429, 503))

Anyone = Annotated[UserRecord, allowed(*ALL)]


class CommandView(BaseModel):
    """One batch of setpoints: the plan it is of, how often it was sent, and its setpoints by what became of them."""

    command_id: str
    aggregator_id: str
    sequence: int
    plan_hash: str
    valid_from: UtcTime
    valid_until: UtcTime
    sent_at: UtcTime
    tries: int
    retried_at: UtcTime | None
    given_up_at: UtcTime | None
    setpoints: int
    taken: int
    done: int
    refused: int
    expired: int
    unanswered: int

    @classmethod
    def of(cls, record: CommandRecord) -> Self:
        """The view of a stored command."""
        counts = {outcome.value: number for outcome, number in record.answered.items()}
        return cls(
            command_id=record.command_id,
            aggregator_id=record.aggregator_id,
            sequence=record.sequence,
            plan_hash=record.plan_hash,
            valid_from=record.valid_from,
            valid_until=record.valid_until,
            sent_at=record.sent_at,
            tries=record.tries,
            retried_at=record.retried_at,
            given_up_at=record.given_up_at,
            setpoints=record.setpoints,
            taken=counts.get("taken", 0),
            done=counts.get("done", 0),
            refused=counts.get("refused", 0),
            expired=counts.get("expired", 0),
            unanswered=record.setpoints - sum(counts.values()),
        )


@router.get("/commands", tags=["commands"])
def list_commands(
    service: Service,
    caller: Anyone,
    aggregator_id: Annotated[AggregatorId | None, Query()] = None,
    since: Annotated[UtcTime | None, Query(description="Only those made at or after this.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[CommandView]:
    """Commands, newest first; an aggregator sees its own."""
    behind = decode_cursor(cursor, int)
    before = behind[0] if behind else None
    wanted = own_only(caller) or aggregator_id
    found = service.store.commands(wanted, since, before=before, limit=limit + 1)
    following = encode_cursor(found[limit - 1][0]) if len(found) > limit else None
    return Page(items=[CommandView.of(record) for _, record in found[:limit]], next_cursor=following)
