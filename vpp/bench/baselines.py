"""The bench of baselines: the published bars reproduced, every method of the table, and raised load found."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import InputError, InputFault
from models.settlement.methods.spec import MethodSpec
from models.settlement.methods.table import method_named, newest_methods
from vpp.bench.baseline_meters import MeterSite, enernoc_sites, ucam_sites
from vpp.bench.inflation import inflation_rows, site_attacks
from vpp.bench.placebo import SCORED, UNSCORED, bar_methods, others_of, site_score, summary

READERS: Mapping[str, Callable[[Path], list[MeterSite]]] = {"enernoc": enernoc_sites, "ucam": ucam_sites}
BARS = "bench/reference_bars.json"
Tracked = Callable[[Iterable[MeterSite], str], Iterable[MeterSite]]


def published_bars(folder: Path) -> dict[str, dict[str, float]]:
    """The reference bars of the data folder."""
    path = folder / BARS
    try:
        bars: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))["cbl_enernoc_shared"]
    except (OSError, ValueError, KeyError) as error:
        rule = "must hold the table cbl_enernoc_shared of the measured data (VPP_DATA_DIR)"
        raise InputError([InputFault(str(path), "cbl_enernoc_shared", str(error), rule)]) from error
    return bars


def chosen_methods(names: Sequence[str] | None) -> list[MethodSpec]:
    """The newest version of all methods, or of those named."""
    return [method_named(name) for name in names] if names else list(newest_methods().values())


def bars_rows(folder: Path, sites: Sequence[MeterSite], tracked: Tracked) -> list[dict[str, Any]]:
    """Each bar beside what our table gives by the same protocol."""
    published, methods = published_bars(folder), bar_methods()
    scores: dict[str, list[Any]] = {name: [] for name in methods}
    for site in tracked(sites, "published bars"):
        for name, method in methods.items():
            scores[name].append(site_score(site, method))
    return [
        {"table": "bars", "method": name, "published": published[name], **summary(scores[name])}
        for name in methods
        if name in published
    ]


def method_rows(
    meters: str, sites: Sequence[MeterSite], methods: Sequence[MethodSpec], tracked: Tracked, *, unscored: bool = False
) -> list[dict[str, Any]]:
    """Every method over all meters; a method that has no baseline for any event says so by its coverage."""
    scores: dict[str, list[Any]] = {method.id: [] for method in methods}
    for site in tracked(sites, f"{meters}: {len(methods)} methods"):
        others = others_of(sites, site)
        for method in methods:
            scores[method.id].append(site_score(site, method, others, UNSCORED if unscored else SCORED))
    return [
        {"table": meters, "method": method.id, "version": method.version, "unscored": unscored}
        | dict(summary(scores[method.id]))
        for method in methods
    ]


def attack_rows(meters: str, sites: Sequence[MeterSite], tracked: Tracked) -> list[dict[str, Any]]:
    """Raised load, found or not."""
    found = [site_attacks(site) for site in tracked(sites, f"{meters}: raised load")]
    return [{"table": f"inflation/{meters}", **row} for row in inflation_rows(found)]


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For people: one block per table, the most accurate method first."""
    told: list[str] = []
    for table in dict.fromkeys(row["table"] for row in rows):
        of_table = [row for row in rows if row["table"] == table]
        if table.startswith("inflation"):
            told += _attack_lines(table, of_table)
        else:
            told += _method_lines(table, of_table)
    return told


def _method_lines(table: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    days = " (unscored days)" if rows[0].get("unscored") else ""
    told = ["", f"{table + days:<28} {'sites':>5} {'coverage':>8} {'CVRMSE':>7} {'bias':>7} {'p90':>7}  published"]
    by_error = sorted(rows, key=lambda row: (row["median_CVRMSE_pct"] is None, row["median_CVRMSE_pct"] or 0.0))
    for row in rows if table == "bars" else by_error:
        name = row["method"] + (f" v{row['version']}" if "version" in row else "")
        if row["median_CVRMSE_pct"] is None:
            told.append(f"{name:<28} {0:>5} {0:>7.0f}%  no baseline on these meters")
            continue
        beside = row.get("published")
        bar = "" if beside is None else f"  {beside['median_CVRMSE_pct']:.2f} / {beside['median_bias_pct']:+.2f} %"
        told.append(
            f"{name:<28} {row['sites']:>5} {row['coverage_pct']:>7.1f}% {row['median_CVRMSE_pct']:>6.2f}% "
            f"{row['median_bias_pct']:>+6.2f}% {row['p90_CVRMSE_pct']:>6.2f}%{bar}"
        )
    return told


def _attack_lines(table: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    beside = "limits 1 %, 5 %; alarms on honest hot days"
    head = f"{table:<28} {'size':>5} {'AUC':>6} {'found at 1 %':>13} {'at 5 %':>8}   {beside}"
    return [
        "",
        head,
        *(
            f"{row['attack']:<28} {row['size']:>5.0%} {row['auc']:>6.3f} {row['found_at_0.01']:>13.1%} "
            f"{row['found_at_0.05']:>8.1%}   {row['limit_at_0.01']:.1f}, {row['limit_at_0.05']:.1f}; "
            f"{row['hot_alarms_at_0.01']:.1%}, {row['hot_alarms_at_0.05']:.1%}"
            for row in rows
        ),
    ]
