"""Any part of a fleet as one program in plain arrays: every kind writes its equations, all devices side by side."""

from collections.abc import Collection, Mapping

import numpy as np

from models.dispatch.fast.explicit.charging import add_charging
from models.dispatch.fast.explicit.draft import BoolArray, Draft, ExplicitModel
from models.dispatch.fast.explicit.generation import add_generators, add_pv
from models.dispatch.fast.explicit.loads import add_curtailable, add_interruptible
from models.dispatch.fast.explicit.shifting import add_shiftable
from models.dispatch.fast.explicit.storage import add_storage
from models.dispatch.fast.explicit.table import KindTable, kind_table
from models.dispatch.fast.explicit.thermal import add_thermal
from models.dispatch.problem import DispatchProblem
from models.errors import InputError, InputFault
from models.intervals import FloatArray
from models.resources import ResourceKind


def explicit_model(
    problem: DispatchProblem, resource_ids: Collection[str] | None = None, *, never_both: Collection[str] = ()
) -> ExplicitModel:
    """The equations of some resources of an *admitted* problem (all of them by default), with no coupling row.

    Rows of ``net`` are in the order of ``problem.fleet.resource_ids``.  ``never_both``: resources whose lazy equations
    (S6-S8, E10-E13: charge or discharge, never both) are in; pumped hydro's always are.  The same columns come in the
    same order whatever the prices.  Raises ``InputError`` for an id that the fleet does not have.
    """
    known = problem.fleet.resource_ids
    if resource_ids is not None:
        wanted = frozenset(resource_ids)
        for name in sorted(wanted.difference(known)):
            raise InputError([InputFault("resources", "resource_id", name, "must be in the fleet")])
        known = tuple(name for name in known if name in wanted)
    place = {name: i for i, name in enumerate(known)}
    draft = Draft(known, problem.grid.hours)
    exclusive = frozenset(never_both)
    writers = {
        ResourceKind.CURTAILABLE_LOAD: add_curtailable,
        ResourceKind.INTERRUPTIBLE_LOAD: add_interruptible,
        ResourceKind.SHIFTABLE_LOAD: add_shiftable,
        ResourceKind.THERMAL_LOAD: add_thermal,
        ResourceKind.GENERATOR: add_generators,
        ResourceKind.PV: add_pv,
    }
    for kind in ResourceKind:
        table = kind_table(problem, kind, place)
        if table is None:
            continue
        if kind is ResourceKind.STORAGE:
            add_storage(draft, table, _chosen(table, exclusive))
        elif kind is ResourceKind.EV_SESSION:
            add_charging(draft, table, _chosen(table, exclusive))
        else:
            writers[kind](draft, table)
    return draft.finish()


def tariff_prices(problem: DispatchProblem, model: ExplicitModel) -> FloatArray:
    """The tariff of every resource of the model, CNY per kWh, (R, T)."""
    tariff: Mapping[str, str] = {name: what.tariff_id for name, what in problem.attributes.items()}
    shape = model.net_constant.shape
    return np.array([problem.tariffs[tariff[name]] for name in model.resource_ids], dtype=np.float64).reshape(shape)


def _chosen(table: KindTable, exclusive: frozenset[str]) -> BoolArray:
    if not exclusive:
        return np.zeros(len(table), dtype=np.bool_)
    return np.array([name in exclusive for name in table["resource_id"]], dtype=np.bool_)
