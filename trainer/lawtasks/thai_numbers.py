"""Thai numbers in words, as laws write amounts and periods: หนึ่งแสนสองหมื่น is 120,000."""

DIGITS = {
    word: value for value, word in enumerate(("หนึ่ง", "สอง", "สาม", "สี่", "ห้า", "หก", "เจ็ด", "แปด", "เก้า"), start=1)
}
UNITS = {"แสน": 100_000, "หมื่น": 10_000, "พัน": 1_000, "ร้อย": 100, "สิบ": 10}
MILLION, TWENTY, LAST_ONE = "ล้าน", "ยี่", "เอ็ด"
"""Ten times two is ยี่สิบ, and a one at the end after tens is เอ็ด."""
WORDS = (*DIGITS, *UNITS, MILLION, TWENTY, LAST_ONE)


def read_thai_number(text: str) -> int | None:
    """The value of the whole text; None where it is not one number as it is spoken."""
    head, million, tail = text.rpartition(MILLION)
    if not million:
        return _read_below_million(text)
    millions, rest = read_thai_number(head), _read_below_million(tail) if tail else 0
    return None if millions is None or rest is None else millions * 1_000_000 + rest


def _read_below_million(text: str) -> int | None:
    value, last_unit = 0, 1_000_000
    while text:
        factor = next((word for word in (*DIGITS, TWENTY, LAST_ONE) if text.startswith(word)), "")
        text = text.removeprefix(factor)
        unit = next((word for word in UNITS if text.startswith(word)), "")
        text = text.removeprefix(unit)
        size = UNITS.get(unit, 1)
        spoken = _factor(factor, unit, after=value)
        if spoken is None or size >= last_unit:
            return None
        value, last_unit = value + spoken * size, size
    return value or None


def _factor(word: str, unit: str, *, after: int) -> int | None:
    """What stands before a unit, or alone at the end; None for what nobody says."""
    if word == LAST_ONE:
        return 1 if not unit and after else None
    if unit == "สิบ":
        return {"": 1, TWENTY: 2, "หนึ่ง": None, "สอง": None}.get(word, DIGITS.get(word))
    return DIGITS.get(word)
