"""The rule that dispatches when no solver does: cheapest first, every device inside its limits to the horizon's end."""

from models.dispatch.merit_order.plan import first_steps_kw, merit_order, undisturbed_kw

__all__ = ["first_steps_kw", "merit_order", "undisturbed_kw"]
