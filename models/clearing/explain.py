"""Why an offer was accepted, or not, as data: a reason, the price to beat, the limit behind it.

The order of questions is that of the reader: was anything needed, was all of it taken, could its minimum ever fit, is
it dearer than the clearing price, was it dear only because an area was full?  What is left has a price that would have
done, and a minimum that did not fit.
"""

from dataclasses import dataclass

from models.clearing.book import Book, BookOffer
from models.clearing.result import Reason


@dataclass(frozen=True, slots=True)
class Why:
    """Fields of an ``Award``; prices in ticks, ``next_price`` may be a mean.  ``area``: index of the limiting area."""

    reason: Reason
    next_price: float | None = None
    margin_share: float | None = None
    below: int | None = None
    area: int | None = None


def why(book: Book, offer: BookOffer, accepted: int, prices: list[int]) -> Why:
    """The reason of one offer at the clearing prices of all areas."""
    price, path = prices[offer.area], book.path(offer.area)
    if accepted == offer.offered:
        return Why(Reason.IN_FULL)
    if not any(book.areas[k].least for k in path):
        return Why(Reason.NOTHING_NEEDED, _next_price(offer, accepted))
    too_small = [k for k in path if book.areas[k].most < offer.minimum]
    if too_small:
        return Why(Reason.MINIMUM_TOO_LARGE, _next_price(offer, accepted), area=too_small[0])
    asked = _next_price(offer, accepted)
    if offer.minimum and not accepted:
        if offer.cost(offer.minimum) <= price * offer.minimum:
            return Why(Reason.PARADOXICALLY_REJECTED, asked)
    elif asked <= price:
        return Why(Reason.AT_THE_MARGIN, asked, _share(offer, accepted), below=price)
    for k in path[:-1]:
        around = prices[book.areas[k].parent]
        if prices[k] < around and asked <= around:
            return Why(Reason.AREA_LIMIT, asked, below=price, area=k)
    return Why(Reason.ABOVE_THE_PRICE, asked, below=price)


def _next_price(offer: BookOffer, accepted: int) -> float:
    """Own price of the first quantum that was not accepted; of a rejected minimum the mean of its whole minimum."""
    if offer.minimum and not accepted:
        return offer.cost(offer.minimum) / offer.minimum
    return float(offer.cost(accepted + 1) - offer.cost(accepted))


def _share(offer: BookOffer, accepted: int) -> float:
    """Part accepted of the step in which the next quantum lies."""
    begin = 0
    for quantity in offer.quantities:
        if accepted < begin + quantity:
            return (accepted - begin) / quantity
        begin += quantity
    return 1.0
