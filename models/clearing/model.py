"""Clearing of one interval as a Pyomo model: the cheapest offers that serve the need."""

from typing import Any

import pyomo.environ as pyo

from models.clearing.book import Book


def build_clearing(book: Book) -> Any:
    r"""Write the market of one interval.

        minimise   Σ_b Σ_s c_bs x_bs + V Σ_a r_a             procurement at bid prices, and what is missing

        (C1)  Σ_{b in a} y_b + r_a ≥ L_a                     every area, the city among them, has its need    [quanta]
        (C2)  Σ_{b in a} y_b ≤ U_a                           no area responds more than is useful there       [quanta]
        (C3)  y_b ≥ M_b u_b                                  its minimum, ...                                 [quanta]
        (C4)  x_bs ≤ Q_bs u_b                                ... or nothing                                   [quanta]
        (C5)  u_b ≥ u_b'                                     of two equal offers the earlier

        y_b = Σ_s x_bs

    ======  ==================  ======  =====================================================================
    symbol  name here           unit    meaning
    ======  ==================  ======  =====================================================================
    x       taken[b, s]         quanta  accepted of a step, 0 ... Q
    y       accepted[b]         quanta  accepted of an offer
    u       is_accepted[b]      -       1 if an offer with a minimum is accepted at all
    r       lack[a]             quanta  what an area lacks, reported as its shortfall
    c       prices[s]           ticks   bid price of a step; within an offer it never falls
    V       shortfall           ticks   price of what is missing, above the cap: it is bought whenever it is offered
    Q       quantities[s]       quanta  length of a step
    M       minimum             quanta  so much or nothing
    L, U    least, most         quanta  limits of an area; area 0 is the city, whose L is the need
    ======  ==================  ======  =====================================================================

    Intervals do not touch one another, so each is a model of its own and a price belongs to one interval.  The energy
    of an interval is its length times all of this: it is left out here and put in where money is counted.  A kWh that
    an area lacks and the city lacks too counts for both: the place comes first.

    C3-C4 carry a binary for the offers with a minimum, and only for those.  C4 stands for every step and not for
    their sum, which gives the better relaxation.  Where a shortfall is smaller than the smallest minimum left, it is
    bought only while that costs less than V does.  C5 is there only between offers of equal zone, steps and minimum:
    it changes no cost, and lets the time decide.

    Source: the unit-commitment form of a one-sided auction with all-or-nothing minimums; ours.
    """
    model = pyo.ConcreteModel()
    steps = [(b, s) for b, offer in enumerate(book.offers) for s in range(len(offer.quantities))]
    gated = [b for b, offer in enumerate(book.offers) if offer.minimum > 0]
    areas = range(len(book.areas))
    members = [book.in_area(a) for a in areas]
    model.taken = pyo.Var(steps, bounds=lambda _, b, s: (0, book.offers[b].quantities[s]))
    model.is_accepted = pyo.Var(gated, domain=pyo.Binary)
    model.lack = pyo.Var(areas, bounds=lambda _, a: (0, book.areas[a].least))

    def accepted(m: Any, b: int) -> Any:
        return pyo.quicksum(m.taken[b, s] for s in range(len(book.offers[b].quantities)))

    def need(m: Any, a: int) -> Any:
        return pyo.quicksum(accepted(m, b) for b in members[a]) + m.lack[a] >= book.areas[a].least

    def useful(m: Any, a: int) -> Any:
        if not members[a]:
            return pyo.Constraint.Feasible
        return pyo.quicksum(accepted(m, b) for b in members[a]) <= book.areas[a].most

    def minimum(m: Any, b: int) -> Any:
        return accepted(m, b) >= book.offers[b].minimum * m.is_accepted[b]

    def or_nothing(m: Any, b: int, s: int) -> Any:
        return m.taken[b, s] <= book.offers[b].quantities[s] * m.is_accepted[b]

    def earlier(m: Any, b: int, later: int) -> Any:
        return m.is_accepted[b] >= m.is_accepted[later]

    model.C1 = pyo.Constraint(areas, rule=need, doc="(C1)")
    model.C2 = pyo.Constraint(areas, rule=useful, doc="(C2)")
    model.C3 = pyo.Constraint(gated, rule=minimum, doc="(C3)")
    model.C4 = pyo.Constraint([(b, s) for b, s in steps if book.offers[b].minimum > 0], rule=or_nothing, doc="(C4)")
    model.C5 = pyo.Constraint(_equal_pairs(book), rule=earlier, doc="(C5)")
    bids = pyo.quicksum(book.offers[b].prices[s] * model.taken[b, s] for b, s in steps)
    model.cost = pyo.Objective(expr=bids + book.shortfall * pyo.quicksum(model.lack[a] for a in areas))
    return model


def _equal_pairs(book: Book) -> list[tuple[int, int]]:
    """Neighbours in time among the offers that are equal but for who made them and when."""
    last: dict[Any, int] = {}
    pairs = []
    for b, offer in enumerate(book.offers):
        if offer.minimum > 0:
            kind = (offer.area, offer.quantities, offer.prices, offer.minimum)
            if kind in last:
                pairs.append((last[kind], b))
            last[kind] = b
    return pairs
