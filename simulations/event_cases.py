"""The fault matrix: what is wrong on an event day, by name.

Shares are of all devices, in each event, from a moment in its first half until an hour after its end.  They are
assumptions: nobody publishes them, only that a fifth of the devices of a call, and more, fall silent in the field.
``everyday``: refusals, spells without readings and lateness that have nothing to do with events.  ``broker_kills``,
``service_kills``: so often in each event, the service away for ``SERVICE_AWAY`` and every second time hit in the midst
of a delivery.  ``wire``: shares of the messages of every gateway, both ways, from ten minutes before each event until
an hour after it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from simulations.faults import FaultKind
from simulations.wire_faults import WireShares

DEVICES = {
    FaultKind.IGNORE: 0.02,
    FaultKind.PARTIAL: 0.02,
    FaultKind.STUCK: 0.01,
    FaultKind.REVERSED: 0.01,
    FaultKind.MEGAWATT: 0.01,
    FaultKind.SLOW_CLOCK: 0.01,
    FaultKind.FAST_CLOCK: 0.01,
}
"""Devices that are wrong otherwise than by silence."""
METERS = {
    FaultKind.STUCK: 0.03,
    FaultKind.REVERSED: 0.03,
    FaultKind.MEGAWATT: 0.02,
    FaultKind.SLOW_CLOCK: 0.02,
    FaultKind.FAST_CLOCK: 0.02,
}
SERVICE_AWAY = timedelta(minutes=2)
CYCLE, CYCLE_BEGINS = timedelta(minutes=5), timedelta(seconds=15)
"""In an event a cycle begins so often at least, and so long after its boundary."""


@dataclass(frozen=True)
class FaultCase:
    """One row of the matrix; ``zh``, ``en``: what it is called on the report."""

    name: str
    zh: str
    en: str
    devices: Mapping[FaultKind, float] = field(default_factory=dict)
    everyday: bool = True
    broker_kills: int = 0
    service_kills: int = 0
    wire: WireShares | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the devices by what is wrong with them, and of messages by what happens to them."""
        devices = {kind.value: share for kind, share in self.devices.items()}
        return devices if self.wire is None else devices | asdict(self.wire)


NOTHING = FaultCase("none", "无故障", "no faults", everyday=False)


def judged(silent: float) -> FaultCase:
    """The case that is judged: silent devices, devices wrong otherwise, everyday faults."""
    return FaultCase(
        f"silent-{silent:.0%}".rstrip("%"),
        f"{silent:.0%} 失联及其他设备故障",
        f"{silent:.0%} silent, 9 % wrong otherwise",
        {FaultKind.SILENT: silent, **DEVICES},
    )


def wire(name: str, share: float) -> FaultCase:
    """Everyday faults, and messages of every sort lost, held back and doubled, both ways."""
    return FaultCase(
        name,
        f"{share:.0%} 消息丢失、延迟、重复",
        f"{share:.0%} of messages lost, held back, doubled",
        wire=WireShares.of_everything(share),
    )


EVERYTHING = FaultCase(
    "everything",
    "一切故障同时发生",
    "everything at once",
    {FaultKind.SILENT: 0.10, **DEVICES, **METERS},
    broker_kills=1,
    service_kills=2,
    wire=WireShares.of_everything(0.05),
)

MATRIX = (
    NOTHING,
    FaultCase("everyday", "日常故障", "everyday faults"),
    judged(0.05),
    judged(0.10),
    judged(0.20),
    judged(0.30),
    FaultCase("meters", "电表与时钟故障", "meters and clocks that lie", METERS),
    FaultCase("broker", "消息代理两次被杀死", "the broker killed twice in each event", broker_kills=2),
    FaultCase("service", "服务两次被杀死", "the service killed twice in each event", service_kills=2),
    wire("wire", 0.05),
    wire("wire-bad", 0.20),
    EVERYTHING,
)
