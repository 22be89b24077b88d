"""Stored revenue keeps reference 12.2, without its crash on a missing rate."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.money import MAX_THOUSANDTHS
from service.ingestion.request import Revenue
from service.ingestion.revenue import (
    NO_RATES,
    NO_REVENUE,
    Rates,
    StoredRevenue,
    build_revenue,
    convert,
    parse_rates,
)

GOALS = (("Purchase", "EUR"), ("Subscribe", "JPY"), ("Purchase", "GBP"))
RATES = Rates("EUR", {"EUR": Decimal(1), "USD": Decimal("1.25"), "JPY": Decimal(160)})


@pytest.mark.parametrize(
    ("revenue", "event_name", "expected"),
    [
        (None, "Purchase", NO_REVENUE),
        (Revenue(10_000, "EUR"), "Other", NO_REVENUE),
        (Revenue(10_000, "EUR"), "Purchase", StoredRevenue(10_000, "EUR", 10_000, "EUR")),
        (Revenue(10_000, "USD"), "Purchase", StoredRevenue(10_000, "USD", 8_000, "EUR")),
        (Revenue(-10_000, "USD"), "Purchase", StoredRevenue(-10_000, "USD", -8_000, "EUR")),
        (Revenue(10_000, "USD"), "Subscribe", StoredRevenue(10_000, "USD", 1_280_000, "JPY")),
        (Revenue(10_000, "CHF"), "Purchase", StoredRevenue(10_000, "CHF")),
        (Revenue(MAX_THOUSANDTHS, "EUR"), "Subscribe", StoredRevenue(MAX_THOUSANDTHS, "EUR")),
    ],
)
def test_stored_revenue(revenue: Revenue | None, event_name: str, expected: StoredRevenue) -> None:
    """The first goal of the event's name decides the currency; what cannot be converted is kept as sent."""
    assert build_revenue(revenue, event_name, GOALS, RATES) == expected


def test_without_rates() -> None:
    """Without any rates an amount in the goal's own currency is still reported."""
    assert convert(Revenue(1, "EUR"), "EUR", NO_RATES) == 1
    assert convert(Revenue(1, "EUR"), "USD", NO_RATES) is None


@pytest.mark.parametrize(("amount", "expected"), [(1, 1), (2, 3), (-1, -1), (-2, -3), (3, 4)])
def test_halves_are_rounded_away_from_zero(amount: int, expected: int) -> None:
    """A converted amount is rounded to thousandths, halves away from zero."""
    rates = Rates("EUR", {"EUR": Decimal(1), "USD": Decimal("1.25")})
    assert convert(Revenue(amount, "EUR"), "USD", rates) == expected


@given(
    amount=st.integers(-MAX_THOUSANDTHS, MAX_THOUSANDTHS),
    rate=st.decimals(min_value="0.000001", max_value="1000000", places=6),
)
def test_converted_amounts_fit_the_column(amount: int, rate: Decimal) -> None:
    """Whatever the rate, a reported amount fits Decimal(18, 3) or is not stored."""
    converted = convert(Revenue(amount, "EUR"), "USD", Rates("EUR", {"EUR": Decimal(1), "USD": rate}))
    assert converted is None or abs(converted) <= MAX_THOUSANDTHS


def test_rates_from_a_table() -> None:
    """A table of rates holds its base as well; numbers may be written in any way."""
    rates = parse_rates(
        {"base": "EUR", "rates": {"USD": Decimal("1.08"), "JPY": 160, "GBP": "0.85", "CHF": 0.95}}
    )
    assert rates == Rates(
        "EUR",
        {
            "USD": Decimal("1.08"),
            "JPY": Decimal(160),
            "GBP": Decimal("0.85"),
            "CHF": Decimal("0.95"),
            "EUR": Decimal(1),
        },
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "base must be an ISO 4217 code of three capital letters"),
        ({"base": "eur", "rates": {}}, "base must be an ISO 4217 code of three capital letters"),
        ({"base": "EUR"}, "there must be a table named rates"),
        ({"base": "EUR", "rates": {"dollar": 1}}, "dollar is not an ISO 4217 code"),
        ({"base": "EUR", "rates": {1: 1}}, "1 is not an ISO 4217 code"),
        ({"base": "EUR", "rates": {"USD": True}}, "the rate of USD must be a number"),
        ({"base": "EUR", "rates": {"USD": "much"}}, "the rate of USD must be a number"),
        ({"base": "EUR", "rates": {"USD": 0}}, "the rate of USD must be greater than zero"),
        ({"base": "EUR", "rates": {"USD": Decimal("inf")}}, "the rate of USD must be greater than zero"),
    ],
)
def test_wrong_tables_of_rates(data: dict[str, Any], message: str) -> None:
    """A wrong table is refused with a sentence that names what is wrong."""
    with pytest.raises(ValueError, match=message):
        parse_rates(data)
