"""What a line is made of, in one table: its name for machines, its name in Chinese, its value as text.

CSV and JSON bear the same names.  Numbers are the digits that the line shows, never a float.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from models.settlement.lines import MARKET, LineKind, StatementLine
from vpp.report.result_folder import Text

Language = Literal["en", "zh"]

KIND_WORDS: Mapping[LineKind, Text] = {
    LineKind.ENERGY: Text(zh="电量", en="energy"),
    LineKind.NETTED: Text(zh="日净额考核", en="netted penalty"),
    LineKind.SHARE: Text(zh="分摊考核", en="share of penalty"),
    LineKind.RESERVE: Text(zh="备用容量", en="reserve"),
}
PARTY_WORDS: Mapping[str, Text] = {
    "market": Text(zh="市场", en="market"),
    "aggregator": Text(zh="聚合商", en="aggregator"),
    "resource": Text(zh="资源", en="resource"),
}
NUMBERS: Mapping[str, str] = {
    "baseline_kwh": "基线电量（kWh）",
    "metered_kwh": "实测电量（kWh）",
    "award_kwh": "中标电量（kWh）",
    "delivered_kwh": "响应电量（kWh）",
    "effective_kwh": "有效响应电量（kWh）",
    "price_cny_per_kwh": "结算价格（元/kWh）",
    "payment_cny": "响应费用（元）",
    "penalised_kwh": "考核电量（kWh）",
    "penalty_price_cny_per_kwh": "考核价格（元/kWh）",
    "penalty_cny": "考核费用（元）",
    "capacity_kw": "容量（kW）",
    "capacity_price_cny_per_kw": "容量价格（元/kW）",
    "capacity_cny": "容量费用（元）",
    "net_cny": "净额（元）",
}
"""The columns that are Decimal."""

KEYS: Mapping[str, str] = {
    "party_kind": "主体类型",
    "party_id": "主体编号",
    "payer_kind": "付款方类型",
    "payer_id": "付款方编号",
    "line_kind": "科目",
    "start": "开始时间",
    "end": "结束时间",
}
COLUMNS: Mapping[str, str] = {
    **KEYS,
    "called_s": "调用时长（s）",
    **NUMBERS,
    "rule": "结算规则",
    "input_sha256": "输入数据指纹",
}


def digits(value: Decimal) -> str:
    """A Decimal as it is shown, without an exponent."""
    return f"{value:f}"


class Teller:
    """Lines as text, with times in the market's zone; spans repeat, so each is told once."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._told: dict[datetime, str] = {}

    def time(self, moment: datetime) -> str:
        """RFC 3339 with the offset that the zone has then: the repeated hour of autumn stays two hours."""
        told = self._told.get(moment)
        if told is None:
            # Equal moments are equal keys, whatever their zone.
            told = self._told[moment] = moment.astimezone(self._zone).isoformat()
        return told

    def values(self, line: StatementLine) -> dict[str, str]:
        """By name as in ``COLUMNS``, all as text."""
        return {
            "party_kind": "aggregator" if line.party.is_aggregator else "resource",
            "party_id": line.party.party_id,
            "payer_kind": "market" if line.payer == MARKET else "aggregator",
            "payer_id": line.payer,
            "line_kind": line.kind.name.lower(),
            "start": self.time(line.start),
            "end": self.time(line.end),
            "called_s": str(line.called_s),
            **{name: digits(getattr(line, name)) for name in NUMBERS},
            "rule": f"{line.rule_id}@{line.rule_version}",
            "input_sha256": line.input_digest,
        }


def in_chinese(values: Mapping[str, str]) -> dict[str, str]:
    """The same values with the words for kinds in Chinese."""
    words = {
        "party_kind": PARTY_WORDS[values["party_kind"]].zh,
        "payer_kind": PARTY_WORDS[values["payer_kind"]].zh,
        "line_kind": KIND_WORDS[LineKind[values["line_kind"].upper()]].zh,
    }
    return {name: words.get(name, value) for name, value in values.items()}
