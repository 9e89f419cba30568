"""Random small problems for tests: ``from tests.fleets import random_problem, situation``."""

from vpp.bench.situations import situation
from vpp.bench.small_fleets import AGGREGATORS, ALL_KINDS, START, random_problem

__all__ = ["AGGREGATORS", "ALL_KINDS", "START", "random_problem", "situation"]
