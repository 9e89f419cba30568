"""Compile the oracles and the master's steps, or load what is compiled already, before a deadline runs."""

from collections.abc import Callable

import numpy as np

from models.dispatch.fast import interior
from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.baseline import baseline_prices
from models.dispatch.fast.coupling import Classes
from models.dispatch.fast.given import Owners, table_sums
from models.dispatch.fast.plan_sums import add_plans
from models.dispatch.fast.pricing.common import empty_sums
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.shards import blocks_of
from models.dispatch.fast.stays import Stays
from models.dispatch.problem import DispatchProblem


def warm_up(
    problem: DispatchProblem, tell: Callable[[str], None] = lambda _: None, *, last_first: bool = False
) -> None:
    """Solve a master of one column and ask every oracle that ``problem`` needs about one row.

    ``tell`` hears what is next.  ``last_first``: in the opposite order, as somebody does who helps another process.

    What numba compiles depends on the types of the arrays and on nothing in them, so one problem stands for all.
    """
    if not last_first:
        tell("the master")
        interior.warm_up()
    tables, _ = admit_columns(problem)
    setting = Setting.of(problem)
    classes = Classes.of(problem, tables)
    blocks = [block for block in blocks_of(problem, tables, classes, setting) if len(block)]
    count, width = len(setting.hours), max(1, len(classes.aggregator_of))
    prices = baseline_prices(setting, width)
    nobody = np.empty(0, dtype=np.int64)
    table_kw = np.zeros((1, count)) if problem.baseline_kw is None else problem.baseline_kw[:1]
    for number, block in sorted(enumerate(blocks, start=1), reverse=last_first, key=lambda pair: pair[0]):
        pricer = block.pricer
        tell(f"oracle {number} of {len(blocks)}: {pricer.name}")
        sums, power_kw = empty_sums(count, width), np.zeros((1, count))
        pricer.sweep(block.units, block.members, block.near, 0, 1, prices, sums, power_kw)
        if pricer.base is not None:
            pricer.base(block.units, 0, power_kw[0])
        if pricer.energy is not None:
            pricer.energy(block.units, nobody, nobody, power_kw, np.empty((1, count)))
        if pricer.spent is not None:
            pricer.spent(block.units, block.members, table_kw, 0, 0, prices.late_cost)
        add_plans(block.members, block.near, 0, 0, pricer.window(block.units), prices.hours, prices.tariff, sums)
    Stays.of(blocks).warm_up()
    owners = Owners.of(blocks, len(problem.fleet.resource_ids))
    table_sums(table_kw, owners, (len(problem.zones), width, len(setting.tariffs)), map)
