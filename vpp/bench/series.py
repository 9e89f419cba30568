"""``vpp bench series``: the same case at several sizes, and how the time grows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vpp.bench.dispatch import BenchCase, bench_dispatch

SIZES = (1_000, 10_000, 100_000, 1_000_000)
FITTED_FROM = 10_000
"""Below this size fixed costs rule: the exponent is fitted from here on."""


def bench_series(
    case: BenchCase,
    sizes: Sequence[int] = SIZES,
    *,
    compare_up_to: int = 0,
    told: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Every size in turn; ``told`` hears of each as it is done."""
    runs = []
    for size in sorted(sizes):
        run = bench_dispatch(replace(case, resources=size), compare=size <= compare_up_to)
        runs.append(run)
        if told is not None:
            told(run)
    # a run that its deadline ended took as long as it was given: it says nothing about growth
    reached = [run for run in runs if run["fast"].get("reached_gap")]
    return {
        "machine": runs[0]["machine"] if runs else {},
        "runs": runs,
        "exponent": fitted_exponent(points(reached, "wall_s"), FITTED_FROM),
        "memory_exponent": fitted_exponent(points(runs, "peak_rss_mb"), FITTED_FROM),
    }


def points(runs: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """Resources and a figure of the fast path, of every run that succeeded."""
    return [
        (float(run["case"]["resources"]), float(run["fast"][name])) for run in runs if run["fast"].get(name) is not None
    ]


def fitted_exponent(found: Sequence[tuple[float, float]], least: float) -> float | None:
    """The k that fits value = c · size^k best over sizes from ``least`` on; None with fewer than two."""
    fitted = [(size, value) for size, value in found if size >= least and value > 0]
    if len({size for size, _ in fitted}) < 2:
        return None
    sizes, values = np.log(np.array(fitted)).T
    return float(np.polyfit(sizes, values, 1)[0])
