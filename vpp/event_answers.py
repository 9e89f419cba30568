"""What aggregators answer to a notice: when an answer is taken, and how much is accepted with it."""

from models.errors import InputError, InputFault
from models.events import EventRecord, EventResponse, EventStatus


def open_to(record: EventRecord | None, aggregator_id: str, response: EventResponse, place: str) -> EventRecord:
    """The event that is answered; ``InputError`` (at ``place``) if it was not offered or takes no answers.

    Answers are taken until the event begins; while it runs only opt-outs are (a yes changes nothing, and is fine).
    """
    if record is None or aggregator_id not in record.share_kw:
        rule = "must name an event that was offered to you"
        raise InputError([InputFault(place, "event_id", response.event_id, rule)])
    says_nothing_new = response.answer == "accept" or bool(response.opted_out_resource_ids)
    running = record.status is EventStatus.EXECUTING and says_nothing_new
    if record.status is not EventStatus.NOTIFIED and not running:
        rule = "the event no longer takes answers"
        if record.status is EventStatus.EXECUTING:
            rule = "the event runs: name the resources that stay out in opted_out_resource_ids"
        raise InputError([InputFault(place, "event_id", response.event_id, rule)])
    return record


def accepted_kw(response: EventResponse, offered_kw: float) -> float:
    """How much of what was offered an answer takes on, kW."""
    return {
        "accept": offered_kw,
        "accept_part": min(offered_kw, response.accepted_kw or 0.0),
        "decline": 0.0,
    }[response.answer]


def all_answered(record: EventRecord) -> bool:
    """True if nobody who has a share is still to be heard."""
    return all(value is not None for value in record.accepted_kw.values())
