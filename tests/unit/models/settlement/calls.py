"""Small calls for the tests of settlement."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np

from models.events import Direction
from models.intervals import IntervalGrid
from models.settlement.inputs import SettlementInputs, input_digests
from models.settlement.lines import Lines
from models.settlement.rules.load import packaged_rules
from models.settlement.rules.schema import Rule, Stage

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = datetime(2025, 7, 16, 13, tzinfo=SHANGHAI)
HOUR = timedelta(hours=1)
BASELINE_KWH = 10_000.0


def rule_named(rule_id: str) -> Rule:
    return packaged_rules().get(rule_id, 1)


def call(
    delivered_kwh: list[list[float]],
    award_kwh: list[list[float]],
    price: str | list[str] = "1",
    *,
    agents: list[str | None] | None = None,
    protected: list[bool] | None = None,
    stage: Stage = Stage.DAY_AHEAD,
    direction: Direction = Direction.SHAVE,
    start: datetime = START,
    step: timedelta = HOUR,
    ids: list[str] | None = None,
    baseline_kwh: float | np.ndarray = BASELINE_KWH,
) -> SettlementInputs:
    """(R, T) delivered against a baseline; load is baseline less delivery (more of it when filling)."""
    delivered, award = np.array(delivered_kwh, dtype=float), np.array(award_kwh, dtype=float)
    rows, columns = delivered.shape
    names = tuple(ids or [f"r{k}" for k in range(rows)])
    baseline = np.broadcast_to(np.asarray(baseline_kwh, dtype=float), delivered.shape)
    load = baseline - delivered if direction is Direction.SHAVE else baseline + delivered
    grid = IntervalGrid.regular(start, step, columns)
    prices = [price] * columns if isinstance(price, str) else price
    return SettlementInputs(
        event_id="e1",
        grid=grid,
        zone=SHANGHAI,
        stage=stage,
        direction=direction,
        resource_ids=names,
        aggregator_ids=tuple(agents or [None] * rows),
        protected=np.array(protected or [False] * rows),
        baseline_kwh=baseline,
        metered_kwh=load,
        award_kwh=award,
        clearing_cny_per_kwh=tuple(Decimal(text) for text in prices),
        digests=input_digests(grid, names, baseline, load, award),
    )


def net_of(lines: Lines, party_id: str, *, is_aggregator: bool = False) -> str:
    return str(sum(line.net_cny for line in lines.of(party_id, is_aggregator=is_aggregator)))
