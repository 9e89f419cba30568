"""A plan that gives more than it should is asked for less; the closest stands, and what fails changes nothing."""

from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models.events import Event
from models.intervals import IntervalGrid
from models.plan import PlanSource
from tests.live import real_time_stage
from tests.unit.vpp.test_asked import running
from vpp import real_time
from vpp.real_time import RealTimeInputs

ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True)
class Problem:
    events: tuple[Event, ...] = ()
    commitments: tuple[Any, ...] = ()


@dataclass
class Scripted:
    """A ladder whose solver gives so many times what it is asked, call by call; None: it fails."""

    takes: list[float | None]
    grid: IntervalGrid
    first_source: PlanSource = PlanSource.REFERENCE
    asked: list[float] = field(default_factory=list)
    in_force: Any = None

    def _solve(self, problem: Problem) -> Any:
        self.asked.append(problem.events[0].target_kw)
        share = self.takes[len(self.asked) - 1]
        if share is None:
            return None
        return SimpleNamespace(gives_kw=share * self.asked[-1], source=self.first_source, grid=self.grid)

    async def plan(self, problem: Problem, events: Any, *, deadline_s: float, gap: float) -> Any:
        self.in_force = self._solve(problem)
        return self.in_force

    async def another(self, problem: Problem, *, deadline_s: float, gap: float) -> Any:
        return self._solve(problem)

    def published(self, plan: Any, events: Any) -> None:
        self.in_force = plan


@pytest.fixture
def gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_time, "delivered_kw", lambda problem, plan, event: [plan.gives_kw])


async def cycle(takes: list[float | None], event_id: str = "noon", **changes: Any) -> tuple[Scripted, float]:
    order, feedback, grid = running(100.0, 6)
    order = order.model_copy(update={"event_id": event_id})
    anything: Any = SimpleNamespace(columns=None, now=lambda: grid.start, forecast=lambda now, grid: None)
    builder: Any = SimpleNamespace(real_time=lambda *_, events, commitments, **__: Problem(tuple(events)))
    stage = real_time_stage(
        timedelta(minutes=5), clock=anything, state=anything, feed=anything, builder=builder, solver=anything
    )
    ladder: Any = Scripted(takes, grid, **changes)
    stage.ladder, stage.feedback["noon"] = ladder, feedback
    plan: Any
    _, plan = await stage.cycle(grid, RealTimeInputs({}, {}, {}, {}, [order], []))
    assert ladder.in_force is plan, "what stands is what the ladder falls back to"
    return ladder, plan.gives_kw


@pytest.mark.usefixtures("gives")
@pytest.mark.parametrize("event_id", ["noon", "noon~2"])
async def test_it_is_asked_until_it_gives_what_it_should(event_id: str) -> None:
    ladder, gives_kw = await cycle([1.1, 1.1], event_id)  # "noon~2": the order was changed while it ran
    assert ladder.asked == pytest.approx([100.0, 100.0 / 1.1])
    assert gives_kw == pytest.approx(100.0)


@pytest.mark.usefixtures("gives")
async def test_the_closest_stands_and_not_the_last() -> None:
    ladder, gives_kw = await cycle([1.07, 1.0, 1.1, 1.1])
    assert len(ladder.asked) == real_time.TRIES
    assert gives_kw == pytest.approx(min((a * t for a, t in zip(ladder.asked, ladder.takes, strict=True)), key=off))  # type: ignore[operator]


@pytest.mark.usefixtures("gives")
async def test_where_it_cannot_be_asked_otherwise_the_first_stands() -> None:
    ladder, gives_kw = await cycle([1.1, None])
    assert len(ladder.asked) == 2
    assert gives_kw == pytest.approx(110.0)


@pytest.mark.usefixtures("gives")
async def test_what_no_solver_has_made_is_not_asked_again() -> None:
    ladder, gives_kw = await cycle([1.1], first_source=PlanSource.RULE)
    assert len(ladder.asked) == 1
    assert gives_kw == pytest.approx(110.0)


def off(kw: float) -> float:
    return abs(kw - 100.0)
