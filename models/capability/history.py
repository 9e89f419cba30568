"""The tests of one resource, in the order in which they were recorded; nothing in it is ever changed or taken out."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from models.canonical import sha256_of
from models.capability.assessment import AssessedTest
from models.capability.measured import PLACE
from models.errors import InputError, InputFault


@dataclass(frozen=True)
class History:
    """``tests``: void ones too.  Its fingerprint holds that of every test and of every history before it."""

    resource_id: str
    tests: tuple[AssessedTest, ...] = ()

    def with_test(self, test: AssessedTest) -> "History":
        """One test longer; ``InputError`` if it is of another resource or in the time of one that is there."""
        if test.resource_id != self.resource_id:
            rule = f"must be a test of {self.resource_id}"
            raise InputError([InputFault(PLACE, "resource_id", test.resource_id, rule)])
        for known in self.tests:
            if test.start_us < known.end_us and known.start_us < test.end_us:
                rule = f"must not overlap the test of {known.started_at.isoformat()}: a history is not rewritten"
                raise InputError([InputFault(PLACE, "start_us", test.started_at.isoformat(), rule)])
        return History(self.resource_id, (*self.tests, test))

    def continues(self, earlier: "History") -> bool:
        """True if this is ``earlier`` with nothing changed, and possibly more tests."""
        links = list(self._chain())
        return len(earlier.tests) < len(links) and links[len(earlier.tests)] == earlier.sha256

    @cached_property
    def sha256(self) -> str:
        """Of all that has been recorded, in its order."""
        return list(self._chain())[-1]

    def _chain(self) -> Iterator[str]:
        """The fingerprint with no test, with the first, with the first two, …"""
        link = sha256_of({"resource_id": self.resource_id})
        yield link
        for test in self.tests:
            link = sha256_of({"before": link, "test": test.facts()})
            yield link
