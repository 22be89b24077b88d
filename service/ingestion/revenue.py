"""The money of an event: what is stored for it, and in which currency. Source: reference section 12.2.

An amount is stored only when the site has a revenue goal of the event's name. It is kept as sent and,
converted to the goal's currency, as reported. Without a rate for one of the two currencies the reported
amount stays NULL and the event is kept (the reference answers 500). Amounts are whole thousandths.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from msgspec import Struct

from service.ingestion.money import MAX_THOUSANDTHS
from service.ingestion.request import Revenue

_CURRENCY_CHARS: Final = 3


class StoredRevenue(Struct, frozen=True, gc=False):
    """The four revenue columns; amounts in thousandths, None = NULL, no currency = empty text."""

    source_amount: int | None = None
    source_currency: str = ""
    reporting_amount: int | None = None
    reporting_currency: str = ""


NO_REVENUE: Final = StoredRevenue()


class Rates(Struct, frozen=True):
    """Exchange rates: how much of each currency one unit of ``base`` buys; ``base`` itself is among them."""

    base: str = ""
    rates: Mapping[str, Decimal] = {}


NO_RATES: Final = Rates()


def parse_rates(data: Mapping[str, object]) -> Rates:
    """Read a table with ``base = "EUR"`` and ``[rates]`` of ISO 4217 codes to positive numbers.

    Raises ValueError with a sentence that names what is wrong.
    """
    base, table = data.get("base"), data.get("rates")
    if not isinstance(base, str) or not _is_currency(base):
        raise ValueError("base must be an ISO 4217 code of three capital letters")
    if not isinstance(table, dict):
        raise ValueError("there must be a table named rates")
    rates = {currency: _parse_rate(currency, value) for currency, value in table.items()}
    rates[base] = Decimal(1)
    return Rates(base, rates)


def build_revenue(
    revenue: Revenue | None, event_name: str, goals: Sequence[tuple[str, str]], rates: Rates
) -> StoredRevenue:
    """Give what is stored for an event's revenue; ``goals`` are (event name, currency), first match wins."""
    if revenue is None:
        return NO_REVENUE
    currency = next((currency for name, currency in goals if name == event_name), None)
    if currency is None:
        return NO_REVENUE
    reported = convert(revenue, currency, rates)
    if reported is None:
        return StoredRevenue(revenue.amount, revenue.currency)
    return StoredRevenue(revenue.amount, revenue.currency, reported, currency)


def convert(revenue: Revenue, currency: str, rates: Rates) -> int | None:
    """Give the amount in another currency, thousandths, halves away from zero; None when it cannot be told.

    It cannot be told without both rates, or when the result is larger than a column holds.
    """
    if revenue.currency == currency:
        return revenue.amount
    source, target = rates.rates.get(revenue.currency), rates.rates.get(currency)
    if source is None or target is None:
        return None
    converted = int((revenue.amount * target / source).to_integral_value(ROUND_HALF_UP))
    return converted if abs(converted) <= MAX_THOUSANDTHS else None


def _parse_rate(currency: object, value: object) -> Decimal:
    if not isinstance(currency, str) or not _is_currency(currency):
        raise ValueError(f"{currency} is not an ISO 4217 code of three capital letters")
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError(f"the rate of {currency} must be a number")
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"the rate of {currency} must be a number") from None
    if not rate.is_finite() or rate <= 0:
        raise ValueError(f"the rate of {currency} must be greater than zero")
    return rate


def _is_currency(text: str) -> bool:
    return len(text) == _CURRENCY_CHARS and text.isascii() and text.isalpha() and text.isupper()
