"""Revenue is read leniently, or ignored."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.money import parse_money, to_thousandths


@pytest.mark.parametrize(
    ("amount", "thousandths"),
    [
        ("1831", 1_831_000),
        ("1831d", 1_831_000),
        ("12abc", 12_000),
        ("19.99", 19_990),
        ("+5", 5_000),
        ("-5.5", -5_500),
        (".5", 500),
        ("5.", 5_000),
        ("1e3", 1_000_000),
        ("1e", 1_000),
        ("1.0005", 1_001),
        ("1.00049", 1_000),
        ("-1.0005", -1_001),
        ("1,5", 1_000),
        (10, 10_000),
        (-1, -1_000),
        (0, 0),
        (0.1, 100),
        (29.95, 29_950),
        (1e-300, 0),
        ("1e-999999", 0),
        ("999999999999999.999", 999_999_999_999_999_999),
    ],
)
def test_an_amount_is_taken_as(amount: object, thousandths: int) -> None:
    """Thousandths, halves away from zero; text after a number is ignored."""
    assert parse_money({"amount": amount, "currency": "USD"}) == (thousandths, "USD")


@pytest.mark.parametrize(
    "amount",
    [
        None,
        True,
        "",
        "abc",
        " 5",
        "e5",
        ".",
        "NaN",
        "Infinity",
        [],
        {},
        10**15,
        -(10**15),
        10**4000,
        1e300,
        "1e999999",
        "1e99999999999999999999",
        "9" * 2000,
        "999999999999999.9995",
    ],
)
def test_other_amounts_are_ignored(amount: object) -> None:
    """No number, or one that the column cannot hold."""
    assert parse_money({"amount": amount, "currency": "USD"}) is None


@pytest.mark.parametrize("currency", ["usd", "US", "ZZZ", "", None, 840, ["USD"], "USD "])
def test_a_currency_must_be_a_current_code(currency: object) -> None:
    """Upper case and exact."""
    assert parse_money({"amount": 1, "currency": currency}) is None


@pytest.mark.parametrize(
    "value", ['{"amount": 1, "currency": "EUR"}', {"amount": "1", "currency": "EUR", "x": 1}]
)
def test_text_may_hold_the_object(value: object) -> None:
    """An object, or its JSON text."""
    assert parse_money(value) == (1000, "EUR")


@pytest.mark.parametrize("value", [None, "", "{", "12", 12, [], {}, {"amount": 1}, {"currency": "EUR"}])
def test_other_values_are_ignored(value: object) -> None:
    """Without both members there is no revenue."""
    assert parse_money(value) is None


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**14), max_value=10**14))
def test_rounding_is_off_by_half_a_thousandth_at_most(amount: Decimal) -> None:
    """Rounding never moves an amount further than it must."""
    thousandths = to_thousandths(amount)

    assert thousandths is not None
    assert abs(Decimal(thousandths) - amount * 1000) <= Decimal("0.5")


@given(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_no_amount_raises(amount: object) -> None:
    """Money or nothing."""
    parsed = parse_money({"amount": amount, "currency": "JPY"})

    assert parsed is None or abs(parsed[0]) < 10**18
