"""A problem made ready for the search: the fleet as blocks, its baseline, its coupling rows."""

from collections.abc import Callable
from dataclasses import dataclass

from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.baseline import Baseline, baseline_of
from models.dispatch.fast.coupling import Classes, CouplingRows, coupling_rows
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.shards import Block, blocks_of
from models.dispatch.fast.sweeps import Sweeper, Workers
from models.dispatch.problem import DispatchProblem
from models.dispatch.states import FleetStates
from models.plan import Admission


@dataclass(frozen=True)
class City:
    """A problem made ready."""

    problem: DispatchProblem
    setting: Setting
    blocks: list[Block]
    admissions: tuple[Admission, ...]
    sweeper: Sweeper
    baseline: Baseline
    rows: CouplingRows

    def scale(self, cost_cny: float) -> float:
        """Denominator of the gap (dispatch-model §3)."""
        base = self.baseline.cost_cny
        return max(abs(cost_cny - base), 1e-3 * abs(base), 1e-9)


def city_of(problem: DispatchProblem, workers: Workers, mark: Callable[[str], None] = lambda _: None) -> City:
    """Make a problem ready; ``mark`` hears what was done."""
    known = FleetStates(problem)
    tables, admissions = admit_columns(problem, known)
    mark("admission")
    setting = Setting.of(problem)
    classes = Classes.of(problem, tables)
    blocks = blocks_of(problem, tables, classes, setting, known, workers.map)
    mark("arrays")
    sweeper = Sweeper(problem, setting, blocks, workers)
    baseline = baseline_of(problem, setting, blocks, sweeper, classes)
    rows = coupling_rows(problem, classes, baseline.zone_kw, baseline.class_kw)
    sweeper.couple(rows)
    mark("baseline")
    return City(problem, setting, blocks, admissions, sweeper, baseline, rows)
