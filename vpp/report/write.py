"""The report: one HTML file with the library and the data inside, which asks no other host for anything.

The content security policy in its head forbids every request, so that a reader may trust that claim.
"""

import json
from html import escape
from importlib.resources import files
from pathlib import Path

from plotly.offline import get_plotlyjs

from vpp.report import figures, tables
from vpp.report.canvas import Figure
from vpp.report.result_folder import DayResult, EventResult, Summary, read_result
from vpp.report.words import Speaker, both, factor, percent

REPORT = "report.html"
PRICE_NOTE = (
    "价格带动的部分已含在基线 b 中，不计入交付；真实交付由同一批设备、同一组随机数、无事件的仿真得到。",
    (
        "What price moved is inside the baseline b and not counted as delivery. "
        "True delivery comes from the same devices and the same dice without the event."
    ),
)
STAMP = "<!--stamp-->"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)


def write_report(folder: Path) -> Path:
    """Build ``report.html`` from a result folder and return its path; ``InputError`` if the folder is not one."""
    path = folder / REPORT
    path.write_text(page(read_result(folder)), encoding="utf-8")
    return path


def page(result: DayResult) -> str:
    """The whole document."""
    summary = result.summary
    speaker = Speaker.of(summary)
    pictures: dict[str, Figure] = {}

    def picture(name: str, figure: Figure, zh: str, en: str) -> str:
        pictures[name] = figure
        return (
            f'<figure><div class="plot" id="{name}" role="img" aria-label="{escape(f"{zh} / {en}", quote=True)}" '
            f'style="min-height:{figure["layout"]["height"]}px"></div>'
            f"<figcaption>{both(zh, en)}</figcaption></figure>"
        )

    parts = [
        _section(
            *("headline", "结论", "Did it deliver?"),
            tables.headline(summary, speaker) + tables.cards(summary) + tables.orders(summary, speaker),
        ),
        _section(
            *("city", "城市负荷：有事件与无事件", "City load with and without the events"),
            picture("fig-city", figures.city(result, speaker), "阴影为事件窗口", "Shaded: event windows"),
        ),
        _section(
            *("delivery", "指令与交付", "Order against delivery"),
            "".join(
                f"<h3><code>{escape(event.event_id)}</code> {escape(speaker.window(event.start, event.end))}</h3>"
                f'<p class="hours">{_hours(event, speaker)}</p>'
                + picture(
                    f"fig-delivery-{index}",
                    figures.delivery(result, event, speaker),
                    "绿色带为指令的 90–110 %",
                    "Green band: 90–110 % of the order",
                )
                for index, event in enumerate(summary.events)
            ),
        ),
        _section(
            *("kinds", "各类资源的状态", "State by resource kind"),
            picture(
                *("fig-kinds", figures.kinds(result, speaker)),
                "实测功率与基线 b；正为用电，负为发电",
                "Metered power against baseline b; positive when consuming",
            ),
        ),
        _section(
            *("aggregators", "各聚合商", "Aggregators"),
            picture(
                *("fig-aggregators", figures.aggregators(result, speaker)),
                "每小时交付与承诺之比",
                "Delivered over accepted, by hour",
            )
            + f"<details><summary>{both('逐小时表', 'Hour by hour')}</summary>"
            f"{tables.aggregator_table(result, speaker)}</details>",
        ),
        _section(
            *("rebound", "事件后六小时的反弹", "Rebound in the six hours after"),
            picture(
                *("fig-rebound", figures.rebound(result, speaker)),
                "事件结束后每小时 Σ(p − b)，正为反弹",
                "Σ(p − b) by hour after the end; positive is rebound",
            ),
        ),
        _section(
            *("truth", "价格的作用与基线的真实性", "What price alone did, and how true the baseline is"),
            f"<p>{both(*PRICE_NOTE)}</p>"
            + picture("fig-shares", figures.shares(result, speaker), "窗口内平均功率", "Means over the window")
            + tables.truth(summary),
        ),
        _section(
            *("devices", "设备与通信", "Devices and messages"),
            tables.counts(summary)
            + picture("fig-devices", figures.devices(result, speaker), "设备数量", "Number of devices"),
        ),
        _section("plan", "计划质量", "Plan quality", tables.plan(summary)),
        _section("journal", "大事记", "Journal", tables.journal(result, speaker)),
        _section("sources", "来源与假设", "Sources and assumptions", tables.sources(summary)),
        _section("reproduce", "如何重现", "How to reproduce", tables.reproduce(summary)),
    ]
    data = json.dumps(pictures, ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
    here = files("vpp.report")
    stamp = f'<span class="stamp">{escape(speaker.stamp)}</span>'
    title = escape(f"{summary.scenario_title_zh} · {summary.scenario_title_en}")
    return (
        '<!doctype html>\n<html lang="zh" data-language="both"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{here.joinpath('report.css').read_text(encoding='utf-8')}</style></head><body>"
        f"{_header(summary)}<main>{''.join(parts).replace(STAMP, stamp)}</main>{_footer(summary)}"
        f'<script type="application/json" id="figures">{data}</script>'
        f"<script>{get_plotlyjs()}</script>"
        f"<script>{here.joinpath('report.js').read_text(encoding='utf-8')}</script></body></html>\n"
    )


def _hours(event: EventResult, speaker: Speaker) -> str:
    return " ".join(
        f"{escape(speaker.window(*hour))} <strong>{percent(ratio)}</strong> {tables.verdict(ratio)}"
        for hour, ratio in tables.hours_of(event, speaker)
    )


def _section(name: str, zh: str, en: str, body: str) -> str:
    return f'<section id="{name}"><h2>{both(zh, en)}{STAMP}</h2>{body}</section>'


def _header(summary: Summary) -> str:
    labels = summary.labels
    badges = [("scale", both(f"比例 ×{factor(summary.scale)}", f"scale ×{factor(summary.scale)}"))]
    if labels.reconstruction:
        badges.insert(0, ("warn", both("由公开数字重构", "reconstruction from published figures")))
    if labels.replayed:
        badges.insert(0, ("warn", both("实测日回放", "replay of a measured day")))
    if summary.simulated:
        badges.insert(0, ("simulated", both("仿真", "SIMULATED")))
    shown = "".join(f'<span class="badge {kind}">{text}</span>' for kind, text in badges)
    notes = []
    if summary.simulated:
        notes.append(
            both(
                "设备为仿真设备，并非真实交付。",
                "The devices are simulated; nothing of this was delivered by real ones.",
            )
        )
    notes.append(
        both(
            f"所有功率均为本机队规模：完整资源组合的 {factor(summary.scale)} 倍（{summary.resources:,} 个资源）。",
            f"All powers are at the size of this fleet: {factor(summary.scale)} of the full portfolio "
            f"({summary.resources:,} resources).",
        )
    )
    if labels.demand_response_was_called:
        notes.append(
            both(
                "当日实际启动过需求响应：所示负荷是响应之后的负荷。",
                "Demand response was really called on this day: its load is after that response.",
            )
        )
    lines = "".join(f"<p>{note}</p>" for note in notes)
    buttons = "".join(
        f'<button type="button" data-set="{value}" aria-pressed="{str(value == "both").lower()}">{name}</button>'
        for value, name in (("both", "双语 both"), ("zh", "中文"), ("en", "English"))
    )
    return (
        f'<header><div class="bar"><div class="badges">{shown}</div><div class="switch" role="group" '
        f'aria-label="语言 Language">{buttons}</div></div>'
        f"<h1>{both(summary.scenario_title_zh, summary.scenario_title_en)}</h1>"
        f'<p class="meta"><code>{escape(summary.scenario)}</code> · {summary.market_day.isoformat()} · '
        f"{both('时间为市场时区', 'times in the market zone')} {escape(summary.time_zone)}</p>"
        f'<div class="notes">{lines}</div></header>'
    )


def _footer(summary: Summary) -> str:
    mark = both("仿真结果", "simulated result") if summary.simulated else ""
    text = both("单个文件，不访问网络。", "One file; it asks no other host for anything.")
    return f"<footer><p>{mark} · ×{factor(summary.scale)} · {text}</p></footer>"
