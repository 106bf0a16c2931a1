"""Numbers in addresses: what is one, what is none."""

import pytest

from chanote.web.numbers import read_key, read_number, read_numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), (" 07 ", 7), ("999999999", 999_999_999), ("1000000000", None), ("", None), ("-1", None), ("٣", None)]
    + [("²", None), ("1.0", None), ("1_0", None), ("1e3", None), ("7\n", 7), ("\0", None)],
)
def test_a_number_is_plain_digits_that_a_column_can_hold(text, number):
    assert read_number(text) == number


def test_a_key_may_be_longer():
    assert read_key("9" * 18) == 10**18 - 1
    assert read_key("9" * 19) is None


def test_numbers_between_dots():
    assert read_numbers("12.3.1") == [12, 3, 1]
    assert read_numbers("12..1") is None
    assert read_numbers("") is None
