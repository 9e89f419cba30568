r"""Between an agent and its users: what of the market's price a user gets, and what of a penalty it bears.

    (1)  p_user = floor + α max(p - floor, 0)        mode "floor_share"                    [CNY/kWh]
    (2)  p_user = fixed                              mode "fixed"                          [CNY/kWh]
    (3)  N_i = θ N · n_i / Σ_j n_j                   the agent bears the rest              [CNY]
    (4)  c_user = (1 - γ) c                          capacity money                        [CNY/kW]

======  ==================  =======  ====================================================================
symbol  name here           unit     meaning
======  ==================  =======  ====================================================================
p       price               CNY/kWh  what the market pays the agent
N       agent's penalty     CNY      on the agent's sums, netted over the rule's span
n_i     pre-penalty         CNY      what user i would pay alone, by the same netting
α, θ    price_share_,       -        contract between agent and users: share of the price above the floor,
        penalty_share_               share of the penalty that users bear
γ       capacity_share_     -        what the agent keeps of capacity money
======  ==================  =======  ====================================================================

A user's penalty is a share of what the agent really pays: whoever fell short while others made up for it pays nothing.
Source: the restatement of Sichuan's rule (domain notes §2.4 [S5 2nd]).  These numbers are a contract's and no rule's;
without one a user gets the market's price and bears the penalty that it caused.
"""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.settlement.rules.schema import Price

Share = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6, allow_inf_nan=False)]


class AgencyTerms(BaseModel):
    """Contract of one agent with its users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["floor_share", "fixed"] = "floor_share"
    floor_cny_per_kwh: Price = Decimal(0)
    price_share_fraction: Share = Decimal(1)
    fixed_cny_per_kwh: Price | None = None
    penalty_share_fraction: Share = Decimal(1)
    capacity_share_fraction: Share = Decimal(0)

    @model_validator(mode="after")
    def _fixed_needs_a_price(self) -> Self:
        if (self.mode == "fixed") != (self.fixed_cny_per_kwh is not None):
            raise ValueError(f"fixed_cny_per_kwh: given in mode fixed only (got {self.fixed_cny_per_kwh})")
        return self

    def user_price_cny_per_kwh(self, market_cny_per_kwh: Decimal) -> Decimal:
        """(1) or (2)."""
        if self.fixed_cny_per_kwh is not None:
            return self.fixed_cny_per_kwh
        above = max(market_cny_per_kwh - self.floor_cny_per_kwh, Decimal(0))
        return self.floor_cny_per_kwh + self.price_share_fraction * above


PASS_THROUGH = AgencyTerms()
