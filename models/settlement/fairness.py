r"""Who is called, for how long and for how much money: the fairness ledger of a fleet.

    (1)  Gini(x) = Σ_i Σ_j |x_i - x_j| / (2 n² x̄) = Σ_i (2 i - n - 1) x_(i) / (n Σ x)

======  =========  ====  ======================================================
symbol  name here  unit  meaning
======  =========  ====  ======================================================
x       values     any   not negative; of every resource, also those with none
x_(i)   -                the i-th smallest
n       -          -     how many resources
======  =========  ====  ======================================================

0 where all have the same (or nothing), 1 - 1/n where one has all; the unit does not matter.  Half the relative mean
difference: C. Gini, Variabilità e mutabilità, 1912; the sorted form follows by counting how often each value is the
larger and how often the smaller one of a pair.

Calls are events in which a resource had an award.  Money is what was paid for energy and power; a member that owes for
its load counts as having received nothing, since (1) has no meaning for debts.  Penalties stand beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from models.errors import InputError, InputFault
from models.intervals import FloatArray
from models.settlement.exact import IntArray, cny
from models.settlement.lines import LineKind, Lines
from models.settlement.statement import Statement


def gini(values: FloatArray | IntArray) -> float:
    """(1); 0 of none."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    if not (x >= 0).all():
        raise InputError([InputFault("fairness", "values", float(x.min()), "must not be negative or missing")])
    if not x.size or x[-1] == 0:
        return 0.0
    x = x / x[-1]  # sums of the largest numbers would overflow, and products of the smallest vanish
    n = x.size
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(np.clip(ranks @ x / (n * x.sum()), 0.0, 1 - 1 / n))


@dataclass(frozen=True)
class FairnessLedger:
    """Of every resource, (R,) each, in the order of ``resource_ids``."""

    resource_ids: tuple[str, ...]
    calls: IntArray
    called_s: IntArray
    received_fen: IntArray
    penalty_fen: IntArray

    @property
    def hours(self) -> FloatArray:
        """Called time."""
        return np.asarray(self.called_s / 3600)

    def received_cny(self, resource_id: str) -> Decimal:
        """What one resource was paid, penalties not taken off."""
        return cny(int(self.received_fen[self.resource_ids.index(resource_id)]))

    @property
    def gini_of_calls(self) -> float:
        """(1) of the number of calls."""
        return gini(self.calls)

    @property
    def gini_of_hours(self) -> float:
        """(1) of called time."""
        return gini(self.called_s)

    @property
    def gini_of_money(self) -> float:
        """(1) of money received."""
        return gini(np.maximum(self.received_fen, 0))


def fairness_ledger(resource_ids: Sequence[str], statements: Iterable[Statement]) -> FairnessLedger:
    """The ledger of a fleet over statements, one version of each event; ``resource_ids``: also who was never called.

    ``InputError`` if an event comes twice or a statement pays a resource that is not of the fleet.
    """
    number = {name: k for k, name in enumerate(resource_ids)}
    calls, called_s, received, penalty = (np.zeros(len(number), dtype=np.int64) for _ in range(4))
    seen: set[str] = set()
    for statement in statements:
        if statement.event_id in seen:
            rule = "each event must come once, in one version"
            raise InputError([InputFault("fairness", "statements", statement.event_id, rule)])
        seen.add(statement.event_id)
        called = np.zeros(len(number), dtype=np.bool_)
        for part in statement.parts:
            row, mine = _rows(part, number)
            amounts = part.amounts
            np.add.at(called_s, row, amounts.called_s[mine])
            np.add.at(received, row, (amounts.payment_fen + amounts.capacity_fen)[mine])
            np.add.at(penalty, row, amounts.penalty_fen[mine])
            called[row[amounts.kind[mine] == LineKind.ENERGY]] = True
        calls += called
    return FairnessLedger(tuple(resource_ids), calls, called_s, received, penalty)


def _rows(part: Lines, number: dict[str, int]) -> tuple[IntArray, IntArray]:
    """The ledger's row of every line of a resource, and which lines those are."""
    place = np.array(
        [-1 if who.is_aggregator else number.get(who.party_id, -2) for who in part.parties], dtype=np.int64
    )
    strangers = np.flatnonzero(place == -2)
    if strangers.size:
        who = part.parties[strangers[0]].party_id
        raise InputError([InputFault("fairness", "resource_ids", who, "must hold every resource that is paid")])
    rows = place[part.amounts.party]
    mine = np.flatnonzero(rows >= 0)
    return rows[mine], mine
