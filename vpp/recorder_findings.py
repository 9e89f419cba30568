"""What whoever verifies the record is told: findings, in both languages, and what is as it should be."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from adapters.store.schema import from_us


class What(StrEnum):
    """What is wrong with a row."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    BROKEN = "broken"


WORDS = {
    What.CHANGED: ("已被改动", "has been changed"),
    What.MISSING: ("缺失", "is missing"),
    What.ADDED: ("记录中没有", "is not in the record"),
    What.BROKEN: ("已损坏", "is broken"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where the database is not as it was recorded; ``differs`` names fields or figures."""

    what: What
    table: str
    key: str
    resource_id: str | None
    at: datetime | None
    differs: str

    def __str__(self) -> str:
        chinese, english = WORDS[self.what]
        where = f"{self.table} {self.key}"
        who = "" if self.resource_id is None else f" 资源 resource {self.resource_id}"
        when = "" if self.at is None else f" {self.at.isoformat()}"
        return f"{where}{who}{when}: {chinese} {english} ({self.differs})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "what": self.what.value, "at": None if self.at is None else self.at.isoformat()}


@dataclass
class Verdict:
    """Everything that was found; ``checked`` counts rows by table, ``notes`` what was not held against anybody."""

    entries: int = 0
    head_sha256: str = ""
    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        what: What,
        table: str,
        key: object,
        differs: str,
        at_us: int | None = None,
        resource_id: str | None = None,
    ) -> None:
        """One more."""
        at = None if at_us is None or not 0 < at_us < 2**57 else from_us(at_us)
        self.findings.append(Finding(what, table, str(key), resource_id, at, differs))


NOTES = {
    "thinned readings": ("原始读数按保留期已转为均值(小时)", "hours whose readings became means, as retention says"),
    "forgotten readings": ("原始读数按保留期已删除(小时)", "hours whose readings were dropped, as retention says"),
    "thinned plans": ("实时计划的曲线按规则未保留", "real-time plans of which only the facts are kept, by design"),
    "new plans": ("尚未记录的计划", "plans that are not recorded yet"),
    "new setpoint_batches": ("尚未记录的指令", "commands that are not recorded yet"),
    "new baselines": ("尚未记录的基线", "baselines that are not recorded yet"),
    "new answers": ("尚未记录的回执", "answers that are not recorded yet"),
    "new readings": ("尚未记录的迟到读数", "late readings that are not recorded yet"),
}
"""What stands in ``Verdict.notes``, in both languages."""
