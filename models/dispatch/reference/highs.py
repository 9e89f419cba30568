"""HiGHS as this package uses it: silent, one thread, tight feasibility."""

import highspy

FEASIBILITY = 1e-9
"""Primal and dual feasibility asked for: energies add up over many intervals."""


def quiet_highs() -> highspy.Highs:
    """A HiGHS that says nothing and uses one thread."""
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("primal_feasibility_tolerance", FEASIBILITY)
    highs.setOptionValue("dual_feasibility_tolerance", FEASIBILITY)
    return highs
