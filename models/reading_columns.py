"""Readings as columns: thousands of devices in one message without an object for each.

A ``ReadingColumns`` is a sequence of ``Reading`` whose items are made when somebody asks for one; who works on all of
them at once uses the columns.  n readings, in the order in which they were sent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.moments import microseconds, moment_of
from models.telemetry import ChargingSession, Reading

GREATEST_SEQUENCE = 2**63 - 1


@dataclass(frozen=True, eq=False)
class ReadingColumns(Sequence[Reading]):
    """``measured_us``: microseconds since 1970 UTC; NaN where an energy or a temperature was not said.

    ``sessions``: by position, what a reading says of a session (None = unplugged); absent = nothing said.
    """

    resource_ids: Sequence[str]
    measured_us: NDArray[np.int64]
    power_kw: FloatArray
    energy_kwh: FloatArray
    temperature_celsius: FloatArray
    available: NDArray[np.bool_]
    sequence: NDArray[np.int64]
    sessions: Mapping[int, ChargingSession | None] = field(default_factory=dict)

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> "ReadingColumns":
        """The columns of readings that are objects already."""
        if isinstance(readings, ReadingColumns):
            return readings
        kept = list(readings)
        return cls(
            resource_ids=[each.resource_id for each in kept],
            measured_us=np.array([microseconds(each.measured_at) for each in kept], dtype=np.int64),
            power_kw=np.array([each.power_kw for each in kept], dtype=np.float64),
            energy_kwh=np.array([each.energy_kwh for each in kept], dtype=np.float64),  # None becomes NaN
            temperature_celsius=np.array([each.temperature_celsius for each in kept], dtype=np.float64),
            available=np.array([each.available for each in kept], dtype=np.bool_),
            sequence=np.array([min(each.sequence, GREATEST_SEQUENCE) for each in kept], dtype=np.int64),
            sessions={place: each.session for place, each in enumerate(kept) if each.says_session},
        )

    @classmethod
    def joined(cls, pieces: Sequence["ReadingColumns"]) -> "ReadingColumns":
        """One after the other."""
        firsts = np.cumsum([0, *(len(piece) for piece in pieces)]).tolist()

        def column(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(piece, name) for piece in pieces])

        return cls(
            resource_ids=[name for piece in pieces for name in piece.resource_ids],
            measured_us=column("measured_us"),
            power_kw=column("power_kw"),
            energy_kwh=column("energy_kwh"),
            temperature_celsius=column("temperature_celsius"),
            available=column("available"),
            sequence=column("sequence"),
            sessions={
                first + place: said
                for first, piece in zip(firsts, pieces, strict=False)
                for place, said in piece.sessions.items()
            },
        )

    def __len__(self) -> int:
        return len(self.resource_ids)

    @overload
    def __getitem__(self, index: int) -> Reading: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Reading]: ...
    def __getitem__(self, index: int | slice) -> Reading | Sequence[Reading]:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = range(len(self))[index]
        values: dict[str, Any] = {
            "resource_id": self.resource_ids[place],
            "measured_at": moment_of(int(self.measured_us[place])),
            "power_kw": float(self.power_kw[place]),
            "available": bool(self.available[place]),
            "sequence": int(self.sequence[place]),
        }
        for name, column in (("energy_kwh", self.energy_kwh), ("temperature_celsius", self.temperature_celsius)):
            if not np.isnan(column[place]):
                values[name] = float(column[place])
        if place in self.sessions:
            values["session"] = self.sessions[place]
        return Reading.model_construct(**values)  # every column was validated at the door

    def __iter__(self) -> Iterator[Reading]:
        return (self[place] for place in range(len(self)))

    def take(self, places: NDArray[np.int64]) -> "ReadingColumns":
        """The readings at these positions, in that order."""
        chosen = places.tolist()
        at = {place: number for number, place in enumerate(chosen)} if self.sessions else {}
        return ReadingColumns(
            resource_ids=[self.resource_ids[place] for place in chosen],
            measured_us=self.measured_us[places],
            power_kw=self.power_kw[places],
            energy_kwh=self.energy_kwh[places],
            temperature_celsius=self.temperature_celsius[places],
            available=self.available[places],
            sequence=self.sequence[places],
            sessions={at[place]: said for place, said in self.sessions.items() if place in at},
        )
