"""Scenarios: a day of a city with weather, load, prices and the class mix of its virtual power plant."""

from simulations.scenarios.scenario import Scenario, load_scenario

__all__ = ["Scenario", "load_scenario"]
