"""May bids that have come be taken: the gate, the order of messages, and the rule of the market."""

from collections.abc import Mapping
from datetime import datetime

from models.clearing.market import MarketRule
from models.clearing.rules import faults_of_bid
from models.errors import InputFault
from models.market_messages import BidSubmission, Invitation, ZoneBid

MOST_FAULTS = 20
"""So many are named of one bid: a wrong price list is wrong everywhere."""

_PLACE = "bids"


def faults_of_bids(
    submission: BidSubmission,
    aggregator_id: str,
    received_at: datetime,
    invitation: Invitation,
    rule: MarketRule,
    sequences: Mapping[str, int],
) -> list[InputFault]:
    """Why bids cannot be taken; ``row`` None: none of them, else the place in ``submission.bids``.

    ``invitation``: the newest of the event.  ``sequences``: by zone, of the bids or withdrawals that this aggregator
    has sent before.
    """
    closed = _closed(submission, received_at, invitation)
    if closed is not None:
        return [closed]
    faults: list[InputFault] = []
    for row, bid in enumerate(submission.bids):
        before = sequences.get(bid.zone_id)
        if before is not None and submission.sequence < before:
            order = f"must not be below {before}, that of the bid for {bid.zone_id} which it would replace"
            faults.append(InputFault(_PLACE, "sequence", submission.sequence, order, row))
        elif bid.action == "withdraw":
            if before is None:
                faults.append(InputFault(_PLACE, "zone_id", bid.zone_id, "has no bid to withdraw", row))
        else:
            faults += _of_market(row, bid, aggregator_id, received_at, invitation, rule)
    return faults


def _closed(submission: BidSubmission, received_at: datetime, invitation: Invitation) -> InputFault | None:
    if submission.event_id != invitation.event_id:
        rule = f"must be an event that takes bids, such as {invitation.event_id}"
        return InputFault(_PLACE, "event_id", submission.event_id, rule)
    if invitation.status != "open":
        rule = f"takes no bids any more: its invitation is {invitation.status}"
        return InputFault(_PLACE, "event_id", submission.event_id, rule)
    if received_at > invitation.bids_until:
        rule = f"takes no bids after {invitation.bids_until.isoformat()}; this came at {received_at.isoformat()}"
        return InputFault(_PLACE, "event_id", submission.event_id, rule)
    return None


def _of_market(
    row: int, bid: ZoneBid, aggregator_id: str, received_at: datetime, invitation: Invitation, rule: MarketRule
) -> list[InputFault]:
    made = bid.as_bid(f"bid-{row}", aggregator_id, received_at)
    found = faults_of_bid(made, rule, invitation.zone_ids, invitation.starts)
    return [InputFault(_PLACE, fault.field, fault.value, fault.rule, row) for fault in found[:MOST_FAULTS]]
