"""A baseline by any method of the table: its family's evaluator, then the adjustment, with the explanation."""

import numpy as np

from models.settlement.methods import days_alike, given
from models.settlement.methods.adjust import adjust
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.explained import Baseline
from models.settlement.methods.learned_morning import learned_morning
from models.settlement.methods.outcome import Outcome
from models.settlement.methods.regression import regression
from models.settlement.methods.spec import (
    ControlGroup,
    DayMatching,
    FirmLevel,
    GeneratorOutput,
    LearnedMorning,
    MatchDay,
    MeterWindow,
    MethodSpec,
    NearestTemperature,
    Parameters,
    Regression,
    Rolling,
)


def baseline_by(method: MethodSpec, case: BaselineCase) -> Baseline:
    """What the meter would have shown without the event, by ``method``, and why."""
    found = _outcome(method.parameters, case)
    if found.kw is None:
        nothing = np.full(case.slots, np.nan)
        return Baseline(method.id, method.version, nothing, found.days, found.missing)
    kw, adjustment = found.kw, None
    if method.adjustment is not None:
        kw, adjustment = adjust(case, method.adjustment, kw)
    return Baseline(method.id, method.version, kw, found.days, None, adjustment, found.learned)


def _outcome(parameters: Parameters, case: BaselineCase) -> Outcome:
    match parameters:
        case DayMatching():
            return days_alike.day_matching(case, parameters)
        case NearestTemperature():
            return days_alike.nearest_temperature(case, parameters)
        case MatchDay():
            return days_alike.match_day(case, parameters)
        case Rolling():
            return days_alike.rolling(case, parameters)
        case MeterWindow():
            return given.meter_window(case, parameters)
        case ControlGroup():
            return given.control_group(case, parameters)
        case GeneratorOutput():
            return given.generator_output(case)
        case FirmLevel():
            return given.firm_level(case)
        case Regression():
            return regression(case, parameters)
        case LearnedMorning():
            return learned_morning(case, parameters)
