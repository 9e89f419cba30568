"""What differs between two versions, narrowed to a scope, and what is still due to and from whom because of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from models.settlement.issued import IssuedStatement
from models.settlement.lines import Party
from models.settlement.statement import LineDifference, difference
from vpp.report.statement.scope import EVERYTHING, Scope

NOTHING = Decimal("0.00")


def changes(old: IssuedStatement, new: IssuedStatement, scope: Scope = EVERYTHING) -> tuple[LineDifference, ...]:
    """All lines of a scope that are new, gone or different; a line is in it if it was so in either version."""
    found = difference(old.statement, new.statement)
    return tuple(
        each for each in found if any(line is not None and scope.holds(line) for line in (each.before, each.after))
    )


@dataclass(frozen=True)
class Dues:
    """``by_party``: what each still gets (negative: gives back); ``by_payer``: what each still pays, "" the market."""

    by_party: dict[Party, Decimal]
    by_payer: dict[str, Decimal]

    @classmethod
    def of(cls, differences: Sequence[LineDifference]) -> "Dues":
        """Of differences: a payer is given back what it paid before, and pays what it now owes."""
        parties: dict[Party, Decimal] = defaultdict(lambda: NOTHING)
        payers: dict[str, Decimal] = defaultdict(lambda: NOTHING)
        for each in differences:
            parties[each.key.party] += each.due_cny
            if each.before is not None:
                payers[each.before.payer] -= each.before.net_cny
            if each.after is not None:
                payers[each.after.payer] += each.after.net_cny
        return cls(dict(parties), dict(payers))
