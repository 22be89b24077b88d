"""Revenue as a tracker sends it: an amount in thousandths and a currency, or nothing.

Source: reference section 12.1. What is no valid money is ignored, the event is kept.
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any, Final

from iso4217 import Currency

from service.ingestion.json_text import find_object

CURRENCIES: Final = frozenset(currency.code for currency in Currency)
"""Current ISO 4217 codes."""

MAX_THOUSANDTHS: Final = 10**18 - 1
"""What the column, ClickHouse's Decimal64(3), can hold."""

MAX_AMOUNT_CHARS: Final = 1000
"""Security limit: a longer text is no amount of money, and long ones are slow to read."""

_WHOLE_DIGITS_MAX: Final = 15
_FRACTION: Final = Decimal("0.001")
_HALF_UP: Final = Context(prec=2 * MAX_AMOUNT_CHARS, rounding=ROUND_HALF_UP)
_NUMBER_PREFIX: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def parse_money(value: object) -> tuple[int, str] | None:
    """Read an object, or a text that holds one, with ``amount`` and ``currency``; None unless it is money.

    Gives the amount in thousandths of the currency's unit, and the currency's code.
    """
    given = find_object(value)
    if given is None:
        return None
    currency, amount = given.get("currency"), _amount(given.get("amount"))
    if amount is None or not isinstance(currency, str) or currency not in CURRENCIES:
        return None
    thousandths = to_thousandths(amount)
    return None if thousandths is None else (thousandths, currency)


def to_thousandths(amount: Decimal) -> int | None:
    """Round to three decimals, halves away from zero; None when the column cannot hold it."""
    if not amount:
        return 0
    if amount.adjusted() >= _WHOLE_DIGITS_MAX:
        return None
    if amount.adjusted() < -_WHOLE_DIGITS_MAX:
        return 0
    thousandths = int(amount.quantize(_FRACTION, context=_HALF_UP).scaleb(3, context=_HALF_UP))
    return thousandths if abs(thousandths) <= MAX_THOUSANDTHS else None


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, str):
        match = _NUMBER_PREFIX.match(value) if len(value) <= MAX_AMOUNT_CHARS else None
        return _decimal(match[0]) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def _decimal(number: str) -> Decimal | None:
    try:
        return Decimal(number)
    except InvalidOperation:  # an exponent beyond what the library counts
        return None
