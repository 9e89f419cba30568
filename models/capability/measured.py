"""What was measured in a test: readings, the baseline over them, the programme and what was declared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.canonical import finite, sha256_of
from models.capability.definitions import Definitions
from models.capability.programme import LARGEST_ORDER_KW, Programme, ProgrammeStep
from models.capability.spans import IntArray
from models.errors import InputError, InputFault
from models.events import Direction
from models.intervals import FloatArray

PLACE = "capability test"
LEAST_ORDER_KW = 1e-6
"""An order of less moves nothing."""


@dataclass(frozen=True, eq=False)
class PowerSeries:
    """n readings: µs since 1970 UTC, strictly rising; each the mean since the one before, kW, NaN where it failed."""

    measured_us: IntArray
    power_kw: FloatArray

    def __post_init__(self) -> None:
        times, power = np.asarray(self.measured_us), np.asarray(self.power_kw, dtype=np.float64)
        faults = []
        if not np.issubdtype(times.dtype, np.integer):
            faults.append(InputFault(PLACE, "measured_us", str(times.dtype), "must be whole microseconds"))
        if times.ndim != 1 or times.shape != power.shape:
            shapes = (times.shape, power.shape)
            faults.append(InputFault(PLACE, "power_kw", shapes, "times and power must be of one shape (n,)"))
        if faults:
            raise InputError(faults)
        times = times.astype(np.int64)
        back = np.flatnonzero(np.diff(times) <= 0)
        if back.size:
            row = int(back[0]) + 1
            faults.append(InputFault(PLACE, "measured_us", int(times[row]), "must be strictly rising", row + 1))
        faults += _too_large("power_kw", power, np.isnan(power))
        if faults:
            raise InputError(faults)
        object.__setattr__(self, "measured_us", times)
        object.__setattr__(self, "power_kw", power)

    def facts(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {"measured_us": self.measured_us.tolist(), "power_kw": finite(self.power_kw.tolist())}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "PowerSeries":
        """The series that has these facts."""
        return cls(np.array(facts["measured_us"]), np.array(facts["power_kw"]))  # None becomes NaN


def _too_large(field: str, values: FloatArray, allowed: NDArray[np.bool_] | None = None) -> list[InputFault]:
    """What is no power at all, but for ``allowed``: failed readings."""
    wrong = ~(np.abs(values) <= LARGEST_ORDER_KW)
    if allowed is not None:
        wrong &= ~allowed
    rule = f"must be a number, at most {LARGEST_ORDER_KW:g} kW either way"
    return [InputFault(PLACE, field, float(values[k]), rule, int(k) + 1) for k in np.flatnonzero(wrong)]


@dataclass(frozen=True, slots=True)
class OrderedStep:
    """A step of a test on the clock, µs: held from ``hold_us`` to ``end_us``.

    ``ordered_kw``: in its direction.  ``move_kw``: what of it is new, negative where it takes back what the step before
    ordered.  ``sign`` turns power less baseline into a change in its direction.
    """

    direction: Direction
    ordered_kw: float
    move_kw: float
    start_us: int
    hold_us: int
    end_us: int

    @property
    def sign(self) -> float:
        """- 1 where less power is more delivery."""
        return -1.0 if self.direction is Direction.SHAVE else 1.0

    @property
    def is_rest(self) -> bool:
        """Nothing is ordered."""
        return self.ordered_kw < LEAST_ORDER_KW


@dataclass(frozen=True, eq=False)
class MeasuredTest:
    """One test of one resource; ``baseline_kw``: (n,), mean over the same time as each reading.

    ``declared_shave_kw``, ``declared_fill_kw``: what shares of a programme are shares of.  ``year``: readings of about
    a year, if the annual energy is asked for.
    """

    resource_id: str
    programme: Programme
    start_us: int
    series: PowerSeries
    baseline_kw: FloatArray
    declared_shave_kw: float
    declared_fill_kw: float = 0.0
    year: PowerSeries | None = None

    def __post_init__(self) -> None:
        baseline = np.asarray(self.baseline_kw, dtype=np.float64)
        shape = self.series.power_kw.shape
        if baseline.shape != shape:
            raise InputError(
                [InputFault(PLACE, "baseline_kw", baseline.shape, f"must be of the readings' shape {shape}")]
            )
        faults = _too_large("baseline_kw", baseline)
        for field in ("declared_shave_kw", "declared_fill_kw"):
            value = getattr(self, field)
            if not 0 <= value <= LARGEST_ORDER_KW:
                rule = f"must not be negative, and at most {LARGEST_ORDER_KW:g} kW"
                faults.append(InputFault(PLACE, field, value, rule))
        if faults:
            raise InputError(faults)
        object.__setattr__(self, "baseline_kw", baseline)
        if all(step.is_rest for step in self.steps):
            declared = (self.declared_shave_kw, self.declared_fill_kw)
            rule = "must be declared where the programme orders a share of it"
            raise InputError([InputFault(PLACE, "declared_kw", declared, rule)])

    @property
    def end_us(self) -> int:
        """When the last step ends."""
        return self.start_us + _us(self.programme.length_s)

    @cached_property
    def steps(self) -> tuple[OrderedStep, ...]:
        """The programme with this resource's kW on the clock."""
        return tuple(self._steps())

    @cached_property
    def largest_order_kw(self) -> float:
        """The largest change that any step orders."""
        return max(step.ordered_kw for step in self.steps)

    def _steps(self) -> Iterator[OrderedStep]:
        before = 0.0  # signed like power
        for step in self.programme.steps:
            ordered = step.order_of(self._declared(step))
            sign = -1.0 if step.direction is Direction.SHAVE else 1.0
            start = self.start_us + _us(step.start_s)
            yield OrderedStep(
                direction=step.direction,
                ordered_kw=ordered,
                move_kw=ordered - sign * before,
                start_us=start,
                hold_us=start + _us(step.settle_s),
                end_us=self.start_us + _us(step.end_s),
            )
            before = sign * ordered

    def _declared(self, step: ProgrammeStep) -> float:
        return self.declared_shave_kw if step.direction is Direction.SHAVE else self.declared_fill_kw

    def facts(self) -> dict[str, Any]:
        """All of it as JSON: what a test is made again from."""
        return {
            "resource_id": self.resource_id,
            "programme": self.programme.model_dump(mode="json"),
            "start_us": self.start_us,
            "series": self.series.facts(),
            "baseline_kw": self.baseline_kw.tolist(),
            "declared_shave_kw": self.declared_shave_kw,
            "declared_fill_kw": self.declared_fill_kw,
            "year": None if self.year is None else self.year.facts(),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "MeasuredTest":
        """The test that has these facts: assessed by the same definitions it gives the same figures."""
        series, year = PowerSeries.from_facts(facts["series"]), facts["year"]
        return cls(
            **{name: facts[name] for name in ("resource_id", "start_us", "declared_shave_kw", "declared_fill_kw")},
            programme=Programme.model_validate(facts["programme"]),
            series=series,
            baseline_kw=np.array(facts["baseline_kw"]),
            year=None if year is None else PowerSeries.from_facts(year),
        )

    def sha256(self, definitions: Definitions) -> str:
        """Of everything that the figures follow from."""
        return sha256_of({"test": self.facts(), "definitions": definitions.model_dump(mode="json")})


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
