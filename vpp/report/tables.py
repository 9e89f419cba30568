"""The report in words and tables: HTML fragments, every value escaped."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

import pandas as pd

from models.settlement.performance import BAND, clock_hours
from vpp.report.result_folder import DayResult, EventResult, Summary
from vpp.report.words import BASIS_NAMES, Speaker, both, both_of, factor, percent, power


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table of HTML cells; columns in ``numbers`` are set to the right."""
    kinds = ["num" if index in numbers else "" for index in range(len(head))]
    top = "".join(f'<th scope="col" class="{kind}">{cell}</th>' for kind, cell in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def in_band(ratio: float | None) -> bool:
    """Within 90 to 110 %."""
    return ratio is not None and BAND[0] - 1e-9 <= ratio <= BAND[1] + 1e-9


def verdict(ratio: float | None) -> str:
    """The ratio as a badge: colour, sign and words."""
    if ratio is None:
        return f'<span class="badge idle">– {both("未下令", "nothing ordered")}</span>'
    if in_band(ratio):
        return f'<span class="badge good">✓ {both("区间内", "within band")}</span>'
    words = both("低于 90 %", "below 90 %") if ratio < 1 else both("高于 110 %", "above 110 %")
    return f'<span class="badge bad">✗ {words}</span>'


def hours_of(event: EventResult, speaker: Speaker) -> list[tuple[tuple[datetime, datetime], float | None]]:
    """The clock hours of an event with their ratios."""
    hours = clock_hours(event.start, event.end, speaker.zone)
    return list(zip(hours, event.ratio_by_hour, strict=False))


def headline(summary: Summary, speaker: Speaker) -> str:
    """Did it deliver?  One sentence, then the hours."""
    ratios = [ratio for event in summary.events for ratio in event.ratio_by_hour if ratio is not None]
    good = sum(in_band(ratio) for ratio in ratios)
    all_good = good == len(ratios) and bool(ratios)
    if all_good:
        sentence = both(
            f"已交付：{len(ratios)} 个事件小时全部在指令的 90–110 % 之内。",
            f"Delivered: all {len(ratios)} event hours lie within 90–110 % of the order.",
        )
    elif ratios:
        sentence = both(
            f"{len(ratios)} 个事件小时中有 {good} 个在 90–110 % 之内，{len(ratios) - good} 个在区间之外。",
            f"{good} of {len(ratios)} event hours lie within 90–110 % of the order; {len(ratios) - good} do not.",
        )
    else:
        sentence = both("当日没有下达指令。", "Nothing was ordered on this day.")
    rows = [
        (
            escape(event.event_id),
            escape(speaker.window(*hour)),
            power(event.ordered_kw),
            f"<strong>{percent(ratio)}</strong>",
            verdict(ratio),
        )
        for event in summary.events
        for hour, ratio in hours_of(event, speaker)
    ]
    head = (
        both("事件", "Event"),
        both("时段", "Hour"),
        both("指令", "Ordered"),
        both("交付/指令", "Ratio"),
        both("判定", "Verdict"),
    )
    return f'<p class="verdict {"good" if all_good else "bad"}">{"✓" if all_good else "✗"} {sentence}</p>' + table(
        head, rows, numbers=(2, 3)
    )


def cards(summary: Summary) -> str:
    """The few figures that one wants to see first."""
    cut = summary.peak_before_kw - summary.peak_after_kw
    scale = factor(summary.scale)
    shown: list[tuple[str, str, str]] = [
        (both("事件前峰值", "Peak before"), power(summary.peak_before_kw), both("真实对照", "true counterfactual")),
        (both("事件后峰值", "Peak after"), power(summary.peak_after_kw), f"{power(-cut, sign=True)}"),
        (
            both("价格已带动", "Already by price"),
            power(summary.already_helping_by_price_kw),
            both("不计入交付", "not in delivery"),
        ),
        (
            both("资源", "Resources"),
            f"{summary.resources:,}",
            f"{summary.aggregators} {both('个聚合商', 'aggregators')}",
        ),
    ]
    if summary.measured_peak_kw is not None:
        note = both("当日实测", "measured that day")
        shown.insert(1, (both("实测峰值", "Measured peak"), power(summary.measured_peak_kw), note))
    if summary.forecast_peak_kw is not None:
        note = both("决策时刻", "when decided")
        shown.insert(0, (both("预测峰值", "Forecast peak"), power(summary.forecast_peak_kw), note))
    boxes = "".join(
        f'<div class="card"><div class="label">{label}</div><div class="value">{value}</div>'
        f'<div class="note">{note}</div><div class="scale">×{scale}</div></div>'
        for label, value, note in shown
    )
    return f'<div class="cards">{boxes}</div>'


def orders(summary: Summary, speaker: Speaker) -> str:
    """What was asked, what could be called, what was ordered, what came."""
    rows = [
        (
            (
                f"<strong>{escape(event.event_id)}</strong><br>"
                f"<small>{both_of(event.scope)} · {escape(event.status)}</small>"
            ),
            escape(speaker.window(event.start, event.end)),
            power(event.five_percent_kw),
            power(event.callable_kw),
            power(event.ordered_kw),
            power(event.five_percent_kw - event.ordered_kw),
            power(event.delivered_kw),
            power(event.true_delivered_kw),
            f"{event.missing_readings:,}",
        )
        for event in summary.events
    ]
    head = (
        both("事件", "Event"),
        both("窗口", "Window"),
        both("目标（5 %）", "Target (5 %)"),
        both("可调用", "Callable"),
        both("指令", "Ordered"),
        both("缺口", "Short of target"),
        both("交付", "Delivered"),
        both("真实交付", "Truly delivered"),
        both("缺失读数", "Missing readings"),
    )
    return table(head, rows, numbers=range(2, 9))


def truth(summary: Summary) -> str:
    """How far the baseline lies from what would really have been."""
    known = [event for event in summary.events if event.true_delivered_kw]
    rows = [
        (
            escape(event.event_id),
            power(event.delivered_kw),
            power(event.true_delivered_kw),
            power(event.delivered_kw - (event.true_delivered_kw or 0.0), sign=True),
            percent(event.delivered_kw / event.true_delivered_kw - 1 if event.true_delivered_kw else None),
        )
        for event in known
    ]
    head = (
        both("事件", "Event"),
        both("对基线", "Against baseline"),
        both("真实", "True"),
        both("差", "Difference"),
        both("相对", "Relative"),
    )
    return table(head, rows, numbers=(1, 2, 3, 4)) if rows else ""


def aggregator_table(result: DayResult, speaker: Speaker) -> str:
    """Accepted and delivered by aggregator and hour."""
    rows = []
    for row in result.aggregators.itertuples():
        accepted, delivered = float(str(row.accepted_kw)), float(str(row.delivered_kw))
        if accepted <= 1e-9:
            continue
        ratio = delivered / accepted
        rows.append(
            (
                both(str(row.name_zh), str(row.name_en)),
                escape(str(row.event_id)),
                escape(speaker.clock(pd.Timestamp(str(row.hour_start)).to_pydatetime())),
                power(accepted),
                power(delivered),
                percent(ratio),
                verdict(ratio),
            )
        )
    head = (
        both("聚合商", "Aggregator"),
        both("事件", "Event"),
        both("小时", "Hour"),
        both("承诺", "Accepted"),
        both("交付", "Delivered"),
        both("比率", "Ratio"),
        both("判定", "Verdict"),
    )
    return table(head, rows, numbers=(3, 4, 5))


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Name and value, one under the other."""
    return (
        '<dl class="facts">' + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs) + "</dl>"
    )


def counts(summary: Summary) -> str:
    """Registrations, readings, setpoints."""
    return facts(
        [
            (both("注册成功", "Registered"), f"{summary.registrations.accepted:,}"),
            (both("拒绝注册", "Refused"), f"{summary.registrations.refused:,}"),
            (both("读数", "Readings"), f"{summary.readings:,}"),
            (both("下发设定值", "Setpoints"), f"{summary.setpoints:,}"),
            (both("已确认", "Acknowledged"), f"{summary.acknowledged:,}"),
            (both("用时", "Wall time"), f"{summary.wall_s:,.1f} s"),
        ]
    )


def plan(summary: Summary) -> str:
    """How good the plan is."""
    quality = summary.plan
    pairs = [
        (both("求解状态", "Status"), escape(quality.status)),
        (both("最优性间隙", "Gap"), "–" if quality.gap is None else f"{quality.gap:.2g}"),
        (both("来源", "Source"), escape(quality.source) or "–"),
    ]
    if quality.objective_cny is not None:
        pairs.append((both("目标值", "Objective"), f"{quality.objective_cny:,.2f} CNY"))
    if quality.lower_bound_cny is not None:
        pairs.append((both("下界", "Lower bound"), f"{quality.lower_bound_cny:,.2f} CNY"))
    if quality.wall_s is not None:
        pairs.append((both("求解用时", "Solve time"), f"{quality.wall_s:,.2f} s"))
    for name, value in (("plan_hash", quality.plan_hash), ("baseline_hash", quality.baseline_hash)):
        if value:
            pairs.append((name, f'<code title="{escape(value)}">{escape(value[:16])}…</code>'))
    if quality.penalties:
        listed = ", ".join(f"{escape(name)} {value:g}" for name, value in quality.penalties.items())
        pairs.append((both("罚系数（元/kWh）", "Penalties (CNY/kWh)"), listed))
    return facts(pairs)


def journal(result: DayResult, speaker: Speaker) -> str:
    """What happened, in order."""
    rows = [
        (
            escape(speaker.stamp_of(pd.Timestamp(str(row.at)).to_pydatetime())),
            f"<code>{escape(str(row.who))}</code>",
            both(str(row.what_zh), str(row.what_en)),
        )
        for row in result.journal.sort_values("at", kind="stable").itertuples()
    ]
    return table((both("时间", "Time"), both("谁", "Who"), both("事项", "What")), rows)


def sources(summary: Summary) -> str:
    """Where every figure of the scenario comes from, and what was assumed."""
    parts = []
    if summary.labels.assumptions:
        items = "".join(f"<li>{both_of(text)}</li>" for text in summary.labels.assumptions)
        parts.append(f"<h3>{both('假设', 'Assumptions')}</h3><ul>{items}</ul>")
    if summary.sources:
        rows = [
            (
                both_of(source.what),
                escape(source.value),
                (
                    f'<span class="badge {"idle" if source.basis != "assumption" else "warn"}">'
                    f"{both_of(BASIS_NAMES[source.basis])}</span>"
                ),
                escape(source.source),
            )
            for source in summary.sources
        ]
        head = (both("内容", "What"), both("数值", "Value"), both("性质", "Basis"), both("来源", "Source"))
        parts.append(table(head, rows))
    if summary.repairs:
        items = "".join(f"<li>{escape(text)}</li>" for text in summary.repairs)
        parts.append(f"<h3>{both('输入数据的修补', 'Repairs of the input')}</h3><ul>{items}</ul>")
    return "".join(parts) or f"<p>{both('无', 'none')}</p>"


def reproduce(summary: Summary) -> str:
    """How to get the same result again."""
    command = f"<pre>{escape(summary.reproduce)}</pre>" if summary.reproduce else ""
    versions = [(escape(name), escape(value)) for name, value in summary.versions.items()]
    return command + (facts(versions) if versions else "")
