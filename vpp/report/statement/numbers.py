"""Numbers as an accountant reads them: groups of three, a true minus sign, always the digits that the line shows."""

from decimal import ROUND_HALF_EVEN, Decimal

from models.settlement.performance import BAND

LOW, HIGH = (Decimal(str(edge)) for edge in BAND)
CENT, MILLI, MICRO = Decimal("0.01"), Decimal("0.001"), Decimal("0.000001")


def shown(value: Decimal) -> str:
    """Any Decimal with its own digits."""
    return f"{value:,f}".replace("-", "−")


def or_dash(value: Decimal) -> str:
    """An en dash where there is nothing: a column of zeros hides what matters."""
    return shown(value) if value else "–"


def plain_number(value: Decimal) -> str:
    """A rule's number without the zeros at its end."""
    return f"{value.normalize():f}".replace("-", "−")


def rounded(value: Decimal, unit: Decimal) -> Decimal:
    """The rounding rule of settlement: half to even; never a negative zero."""
    return value.quantize(unit, rounding=ROUND_HALF_EVEN) + 0


def ratio_of(delivered_kwh: Decimal, award_kwh: Decimal) -> Decimal | None:
    """Delivered over awarded; None where nothing was."""
    return delivered_kwh / award_kwh if award_kwh else None


def in_band(ratio: Decimal) -> bool:
    """Within 90 to 110 %, edges included."""
    return LOW <= ratio <= HIGH


def percent_of(ratio: Decimal | None) -> str:
    """One digit; more where that many would show a ratio on the wrong side of an edge of the band."""
    if ratio is None:
        return "–"
    for digits in range(1, 8):
        text = f"{100 * ratio:,.{digits}f}"
        if in_band(Decimal(text.replace(",", "")) / 100) == in_band(ratio):
            break
    return f"{text} %".replace("-", "−")
