"""The fault matrix as people read it: a table on the screen, and a plot of every judged hour."""

from collections.abc import Mapping, Sequence
from html import escape

from rich.box import SIMPLE
from rich.table import Table

from simulations.event_cases import FaultCase
from simulations.event_days import BAND, EventDayScore, summary_of

GOALS = {
    "hours_in_band_share": 0.95,
    "accuracy_mean": 0.984,
    "hours_in_band_true_share": 0.90,
    "accuracy_true_mean": 0.95,
}
"""What the judged case must reach, metered, and against the true counterfactual."""


def table(cases: Sequence[FaultCase], scores: Sequence[EventDayScore]) -> Table:
    """One row a case: how often the order was kept, and what must never happen and did."""
    made = Table(title="故障矩阵 fault matrix", box=SIMPLE, padding=(0, 1))
    made.add_column("故障\nwhat is wrong")
    heads = (
        "天\ndays",
        "小时\nhours",
        "达标\nin band",
        "准确率\naccuracy",
        "真实达标\ntrue in band",
        "真实准确率\ntrue accuracy",
    )
    for head in (*heads, "反弹\nrebound ok", "承诺\npromises", "不变量\ninvariants"):
        made.add_column(head, justify="right", no_wrap=True)
    for case in cases:
        found = summary_of([each for each in scores if each.case == case.name])
        promises = f"{found['promises_broken']:.0f} (+{found['promises_named']:.0f})"
        made.add_row(
            f"{case.zh}\n{case.en}",
            f"{found['days']:.0f}",
            f"{found['hours']:.0f}",
            *(_judged(name, found[name]) for name in GOALS),
            f"{found['rebound_ok_share']:.0%}",
            promises,
            "[green]0[/]" if not found["invariants_broken"] else f"[red]{found['invariants_broken']:.0f}[/]",
        )
    made.caption = "承诺: 未预告的违约 (+ 已预告)   promises: broken unnamed (+ named before)"
    return made


def _judged(name: str, share: float) -> str:
    colour = "green" if share >= GOALS[name] else "yellow"
    return f"[{colour}]{share:.1%}[/]"


# ---- the plot

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 860, 300, 40, 84, 46, 66
_LOW, _HIGH = 0.70, 1.30
_METERED, _TRUE = "#0b6e4f", "#b5442e"


def plot_svg(cases: Sequence[FaultCase], scores: Sequence[EventDayScore], machine: str) -> str:
    """Every judged hour as a point, by case: delivered over ordered; above as metered, below as it really was.

    The band of 90 to 110 % is shaded; hours beyond the edges of the picture stand at its edges.
    """
    height = _TOP + _ROW * len(cases) + _BOTTOM
    low, high = (_x(edge) for edge in BAND)
    tall = _ROW * len(cases) + 12
    body = [f'<rect x="{low:.1f}" y="{_TOP - 12}" width="{high - low:.1f}" height="{tall}" fill="#e4f2ec"/>']
    for ratio in (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3):
        x = _x(ratio)
        body.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 12}" y2="{_TOP + _ROW * len(cases)}" '
            f'stroke="{"#777" if ratio == 1.0 else "#ddd"}"/>'
            f'<text x="{x:.1f}" y="{_TOP + _ROW * len(cases) + 18}" text-anchor="middle">{ratio:.0%}</text>'
        )
    for row, case in enumerate(cases):
        body += _row(row, case, [each for each in scores if each.case == case.name])
    days = len({each.seed for each in scores})
    title = f"交付 / 下令, 逐时 · delivered / ordered, every judged hour of {days} days"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="Noto Sans, Noto Sans CJK SC, sans-serif" font-size="12" fill="#222">'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="20" y="30" font-size="16" font-weight="600">{escape(title)}</text>'
        f'<circle cx="26" cy="50" r="4" fill="{_METERED}"/><text x="36" y="54">计量 as metered</text>'
        f'<circle cx="166" cy="50" r="4" fill="{_TRUE}"/>'
        '<text x="176" y="54">真实反事实 against the true counterfactual</text>'
        + "".join(body)
        + f'<text x="20" y="{height - 14}" fill="#666">{escape(machine)}</text></svg>\n'
    )


def _row(row: int, case: FaultCase, scores: Sequence[EventDayScore]) -> list[str]:
    y = _TOP + _ROW * row + _ROW / 2
    found = summary_of(scores)
    made = [
        (
            f'<text x="20" y="{y - 6:.1f}" font-weight="600">{escape(case.zh)}</text>'
            f'<text x="20" y="{y + 9:.1f}" fill="#555">{escape(case.en)}</text>'
            f'<text x="{_LEFT - 14}" y="{y + 3:.1f}" text-anchor="end" fill="#333">{_share(found)}</text>'
        )
    ]
    for ratios, colour, above in (("ratios", _METERED, 8), ("true_ratios", _TRUE, -8)):
        values = [value for each in scores for value in getattr(each, ratios)]
        made += [
            f'<circle cx="{_x(value):.1f}" cy="{y - above:.1f}" r="3.2" fill="{colour}" fill-opacity="0.45"/>'
            for value in values
        ]
    return made


def _share(found: Mapping[str, float]) -> str:
    return "" if not found["hours"] else f"{found['accuracy_mean']:.1%}"


def _x(ratio: float) -> float:
    inside = min(max(ratio, _LOW), _HIGH)
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (inside - _LOW) / (_HIGH - _LOW)
