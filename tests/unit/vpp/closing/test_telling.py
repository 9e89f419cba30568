"""Everybody hears of every statement that is shown: after a restart too, and once the broker is back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.store import Store
from models.errors import BrokerError
from models.events import Event, EventRecord, EventStep
from models.life_cycle import EventStatus
from models.money_messages import StatementNotice
from models.settlement.issued import issued
from tests.unit.models.settlement.calls import START, call, rule_named
from vpp.closing.telling import StatementTeller

AT = datetime(2025, 7, 17, tzinfo=UTC)
DAYS = timedelta(days=5)


class Ears:
    """A link that keeps what it is told, or cannot send."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.away = False

    async def send_statement(self, aggregator_id: str, notice: StatementNotice) -> None:
        if self.away:
            raise BrokerError("the broker is away")
        self.heard.append((aggregator_id, notice.event_id, notice.status))


def kept(store: Store, event_id: str, status: EventStatus) -> EventRecord:
    event = Event(event_id=event_id, start=START, end=START + timedelta(hours=1), target_kw=150.0)
    record = EventRecord(event=event, status=status, steps=(EventStep(status=status, at=AT, by="li"),))
    store.save_event(record)
    inputs = replace(call([[90.0], [30.0]], [[100.0], [50.0]], agents=["sun", "moon"]), event_id=event_id)
    made = issued(inputs, rule_named("sichuan_market_v1"), {}, AT, "service")
    store.add_statement(made)
    return record


async def test_news_before_the_first_look_do_not_keep_others_from_hearing(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        store.migrate()
        records = [
            kept(store, "old", EventStatus.SETTLED),
            kept(store, "new", EventStatus.PUBLISHED),
            kept(store, "hidden", EventStatus.EVALUATED),
        ]
        link = Ears()
        teller = StatementTeller(store, link)  # type: ignore[arg-type]
        teller.news("new")
        link.away = True
        await teller.tick(records, DAYS)
        assert link.heard == []
        link.away = False
        await teller.tick(records, DAYS)
        wanted = {(name, "old", "settled") for name in ("moon", "sun")}
        wanted |= {(name, "new", "issued") for name in ("moon", "sun")}
        assert set(link.heard) == wanted
        assert len(link.heard) == 4
        await teller.tick(records, DAYS)
        assert len(link.heard) == 4  # once is enough
        teller.news("new")
        await teller.tick(records, DAYS)
        assert link.heard[4:] == [("moon", "new", "issued"), ("sun", "new", "issued")]
