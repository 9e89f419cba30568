"""One test assessed: void or not, its indices, what it held, and the fingerprint of what all that follows from."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from models.capability.definitions import USUAL, Definitions
from models.capability.explained import Missing
from models.capability.indices import Indices, indices
from models.capability.measured import MeasuredTest
from models.capability.spans import ROUNDING_US, spans_of
from models.capability.step_indices import Held
from models.events import Direction
from models.moments import moment_of


@dataclass(frozen=True, slots=True)
class AssessedTest:
    """``void``: why the test does not count; it has then no ``indices``.  ``inputs_sha256``: of test and definitions.

    ``missing_share``: of the test's time without readings.
    """

    resource_id: str
    start_us: int
    end_us: int
    missing_share: float
    void: Missing | None
    indices: Indices | None
    inputs_sha256: str

    @property
    def started_at(self) -> datetime:
        """First order, UTC."""
        return moment_of(self.start_us)

    @property
    def ended_at(self) -> datetime:
        """End of the last, UTC."""
        return moment_of(self.end_us)

    def held(self, direction: Direction) -> Held:
        """What it has shown in a direction, at its largest order."""
        if self.indices is None:
            return Held(0.0, missing=self.void)
        return self.indices.by_direction[direction].held

    def facts(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self)


def assess(test: MeasuredTest, definitions: Definitions | None = None) -> AssessedTest:
    """Assess one test; without ``definitions`` by the usual ones of its class."""
    chosen = USUAL[test.programme.resource_class] if definitions is None else definitions
    series = test.series
    known = spans_of(series.measured_us, series.power_kw, round(chosen.longest_span_s * 1e6))
    length_us = test.end_us - test.start_us
    missing_us = length_us - known.within(test.start_us, test.end_us).known_us
    void = Missing.READINGS_MISSING if missing_us > chosen.missing_most * length_us + ROUNDING_US else None
    return AssessedTest(
        resource_id=test.resource_id,
        start_us=test.start_us,
        end_us=test.end_us,
        missing_share=missing_us / length_us,
        void=void,
        indices=indices(test, chosen) if void is None else None,
        inputs_sha256=test.sha256(chosen),
    )
