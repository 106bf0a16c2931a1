"""Numbers that people and programs write into addresses and forms: plain digits that every database can hold."""

NUMBER_DIGITS = 9
KEY_DIGITS = 18


def read_number(text: str) -> int | None:
    """A number of something counted, such as a run or a step; None for anything else than 1 to 9 ASCII digits."""
    return _read(text.strip(), NUMBER_DIGITS)


def read_key(text: str) -> int | None:
    """A primary key or an offset; None for anything else than 1 to 18 ASCII digits."""
    return _read(text.strip(), KEY_DIGITS)


def read_numbers(text: str) -> list[int] | None:
    """Numbers between dots, `12.3.1`; None when a part is no number."""
    parts = [read_number(part) for part in text.split(".")]
    numbers = [part for part in parts if part is not None]
    return numbers if len(numbers) == len(parts) else None


def _read(text: str, digits: int) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None
