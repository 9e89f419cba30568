"""The evaluation of an event as the head of a report: did it deliver, hour by hour."""

from decimal import Decimal
from html import escape

from vpp.report.statement.cells import across, code, note, ratio_cell, section
from vpp.report.statement.evaluation import Evaluation, Hour, rebound_of
from vpp.report.statement.parts import cards
from vpp.report.words import Speaker, both, power

_NOTE = (
    "评估为运行口径：基线功率与实测功率之差的小时平均，对指令；结算口径见下文各行。",
    "The evaluation is operation's view: mean power against the order. What is paid stands in the lines below.",
)


def head(evaluation: Evaluation | None) -> str:
    """A section, or nothing where the event has not been judged."""
    if evaluation is None:
        return ""
    speaker = Speaker(evaluation.zone, "")
    body = _whole(evaluation, speaker) if evaluation.whole else ""
    body += _aggregators(evaluation, speaker) + note(*_NOTE)
    return section("evaluation", "事件评估", "Evaluation of the event", body)


def _whole(evaluation: Evaluation, speaker: Speaker) -> str:
    asked = [hour for hour in evaluation.hours if hour.ratio is not None]
    good = sum(bool(hour.in_band) for hour in asked)
    fine = good == len(asked) and bool(asked)
    sentence = both(
        f"{len(asked)} 个事件小时中有 {good} 个在指令的 90–110 % 之内。",
        f"{good} of {len(asked)} event hours lie within 90–110 % of the order.",
    )
    found = [
        (("指令", "Ordered"), power(evaluation.ordered_kw), ("窗口平均", "mean over the window")),
        (("响应", "Delivered"), power(evaluation.delivered_kw), ("对基线", "against the baseline")),
    ]
    if evaluation.credited_kw is not None:
        found.append((("计入", "Credited"), power(evaluation.credited_kw), ("扣除更窄事件", "less narrower events")))
    missing = f"{evaluation.missing_readings:,} / {evaluation.interpolated_readings:,}"
    found.append((("缺失 / 插补读数", "Missing / interpolated"), missing, ("资源 × 时段", "resource × interval")))
    back = [
        (escape(speaker.window(start, end)), escape(f"{power(kw, sign=True)}".replace("-", "−")))
        for start, end, kw in rebound_of(evaluation)
    ]
    rebound = ""
    if back:
        said = note(
            "结束后每小时 Σ(实测 − 基线)：正为反弹。",
            "Σ(metered − baseline) by hour after the end: positive is rebound.",
        )
        rebound = across([one for one, _ in back], [("", [kw for _, kw in back])], ("结束后", "After the end")) + said
    verdict = f'<p class="verdict {"good" if fine else "bad"}">{"✓" if fine else "✗"} {sentence}</p>'
    hours = across(
        [escape(speaker.window(hour.start, hour.end)) for hour in evaluation.hours],
        [(both("全部", "all"), [_ratio(hour) for hour in evaluation.hours])],
        ("响应 / 指令", "Delivered / ordered"),
    )
    return verdict + cards(found) + hours + rebound


def _aggregators(evaluation: Evaluation, speaker: Speaker) -> str:
    if not evaluation.by_aggregator:
        return ""
    longest = max(evaluation.by_aggregator.values(), key=len)
    windows = [escape(speaker.window(hour.start, hour.end)) for hour in longest]
    rows = [
        (code(name), [*(_ratio(hour) for hour in hours), *[""] * (len(longest) - len(hours))])
        for name, hours in evaluation.by_aggregator.items()
    ]
    return across(windows, rows, ("聚合商：响应 / 承诺", "Aggregator: delivered / accepted"))


def _ratio(hour: Hour) -> str:
    return ratio_cell(None if hour.ratio is None else Decimal(str(round(hour.ratio, 9))))
