"""Numbers in addresses: what is one, what is none."""

import pytest

from chanote.web.numbers import read_key, read_number, read_numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("7", 7), (" 07 ", 7), ("7\n", 7), ("999999999", 999_999_999)],
        *[(text, None) for text in ("1000000000", "", "-1", "٣", "²", "1.0", "1_0", "1e3", "\0")],
    ],
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
