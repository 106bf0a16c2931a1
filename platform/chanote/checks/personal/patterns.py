"""Patterns of personal data. Every pattern is bounded: from no place does it look further than some dozen characters,
so that a hostile row costs time in proportion to its length and no more.

Patterns read folded text: digits 0 to 9, plain spaces and hyphens, nothing invisible.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chanote.checks.personal.check_digits import (
    IBAN_LENGTHS,
    is_card,
    is_dutch_number,
    is_french_number,
    is_german_document,
    is_german_insurance_number,
    is_german_tax_id,
    is_iban,
    is_italian_code,
    is_polish_number,
    is_spanish_id,
    is_thai_id,
    travel_digit,
)

KINDS = {
    "email": "e-mail address",
    "iban": "bank account (IBAN)",
    "card": "payment card",
    "national_id": "Thai national id",
    "tax_id": "German tax id",
    "insurance_number": "German insurance number",
    "european_id": "personal number of another European state",
    "passport": "passport or identity card",
    "bank_account": "bank account",
    "phone": "telephone number",
    "name": "name of a person",
}
"""Kind → words. Where two overlap the earlier kind wins: its check is the stricter one."""
NEAR = 48
"""Characters after a word such as "passport" in which its number is looked for."""
_SEPARATOR = re.compile(r"[ .\-/()]")
_NOT_DIGIT = re.compile(r"[^0-9]")


@dataclass(frozen=True)
class Hit:
    kind: str
    start: int
    stop: int


Finder = Callable[[str], Iterator[tuple[int, int]]]
NearFinder = Callable[[str, str], Iterator[tuple[int, int]]]
"""Takes the text and the same in small letters."""


def _strip(text: str) -> str:
    return _NOT_DIGIT.sub("", text)


def _find_numbers(
    pattern: str, accept: Callable[[str], bool], *, separators: int, after_letters: bool = False
) -> Finder:
    """Numbers whose digits are accepted and that are not torn into more than some pieces."""
    # In a hash letters touch the digits; "ID1234567890121" is written all the same.
    before = r"(?:(?<![0-9A-Za-z])|(?<=ID)|(?<=id)|(?<=No))" if after_letters else r"(?<![0-9A-Za-z])"
    compiled = re.compile(rf"{before}(?<![0-9][.,])(?:{pattern})(?![0-9A-Za-z])")

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in compiled.finditer(text):
            digits = _strip(match[0])
            if len(match[0]) - len(digits) <= separators and accept(digits):
                yield match.span()

    return find


_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64} ?@ ?[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}")


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if match[0].rpartition(".")[2].isalpha() and not match[0].startswith("."):
                yield match.span()


_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}(?=[ -]?[A-Za-z0-9]{2})")


def find_ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        length = IBAN_LENGTHS.get(match[1].upper())
        if length is None:
            continue
        account, stop = "", match.start()
        while len(account) < length and stop < len(text) and stop - match.start() < 2 * length:
            one = text[stop]
            if one.isascii() and one.isalnum():
                account += one
            elif one not in " -":
                break
            stop += 1
        following = text[stop : stop + 1]
        if not (following.isascii() and following.isalnum()) and is_iban(account.upper()):
            yield match.start(), stop


def _find_words(pattern: str, accept: Callable[[str], bool]) -> Finder:
    compiled = re.compile(rf"(?<![0-9A-Za-z])(?:{pattern})(?![0-9A-Za-z])")

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in compiled.finditer(text):
            if accept(re.sub(r"[ .\-/]", "", match[0])):
                yield match.span()

    return find


_FIND_SPANISH = _find_words(r"(?:[0-9]{8}|[XYZ]-?[0-9]{7})[ -]?[A-Z]", is_spanish_id)
_FIND_FRENCH = _find_words(
    r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", is_french_number
)
_FIND_ITALIAN = _find_words(r"[A-Z]{3} ?[A-Z]{3} ?[0-9]{2}[ABCDEHLMPRST][0-9]{2} ?[A-Z][0-9]{3}[A-Z]", is_italian_code)
_FIND_INSURANCE = _find_words(r"[0-9]{2}[ ]?[0-9]{6}[ ]?[A-Z][ ]?[0-9]{3}", is_german_insurance_number)


def _find_near(words: tuple[str, ...], pattern: str, accept: Callable[[str], bool]) -> NearFinder:
    """What follows one of some words, whatever their case, within some characters."""
    escaped = "|".join(f"(?<![a-z0-9]){re.escape(word)}" if word.isascii() else re.escape(word) for word in words)
    word, number = re.compile(escaped), re.compile(pattern)

    def find(text: str, lowered: str) -> Iterator[tuple[int, int]]:
        if not any(one in lowered for one in words):
            return
        for match in word.finditer(lowered):
            found = number.search(text, match.end(), match.end() + NEAR)
            if found and accept(re.sub(r"[ \-]", "", found[0])):
                yield found.span()

    return find


def lower(text: str) -> str:
    """In small letters, of the same length: of a few capital letters the small ones are more characters."""
    lowered = text.lower()
    return (
        lowered if len(lowered) == len(text) else "".join(one.lower() if len(one.lower()) == 1 else one for one in text)
    )


_FIND_DUTCH = _find_near(
    ("bsn", "burgerservicenummer", "sofinummer"), r"(?<![0-9])[0-9]{4}[ .]?[0-9]{2}[ .]?[0-9]{3}(?![0-9])",
    lambda one: is_dutch_number(_strip(one)),
)  # fmt: skip
_FIND_POLISH = _find_near(("pesel",), r"(?<![0-9])[0-9]{11}(?![0-9])", is_polish_number)


def find_european_ids(text: str) -> Iterator[tuple[int, int]]:
    for find in (_FIND_SPANISH, _FIND_FRENCH, _FIND_ITALIAN):
        yield from find(text)


_PASSPORT_WORDS = (
    "passport", "passeport", "reisepass", "personalausweis", "ausweisnummer", "ausweisnr", "ausweis-nr",
    "identity card", "id card", "หนังสือเดินทาง", "พาสปอร์ต", "พาสพอร์ต",
)  # fmt: skip
_FIND_PASSPORT_NUMBER = _find_near(
    _PASSPORT_WORDS,
    # As Thailand and most states write it; as Germany does, with or without the check digit; nine digits elsewhere.
    r"(?<![A-Za-z0-9])(?:[A-Z]{1,2}[ -]?[0-9]{6,8}|"
    r"[CFGHJKLMNPRTVWXYZ](?=[A-Z0-9]{0,9}[0-9])[CFGHJKLMNPRTVWXYZ0-9]{8}[0-9]?|[0-9]{9})(?![A-Za-z0-9])",
    lambda one: len(one) != 10 or one[:2].isalpha() or is_german_document(one),
)
_TRAVEL_LINE = re.compile(
    r"(?<![A-Z0-9<])([A-Z0-9<]{9})([0-9])[A-Z]{3}([0-9]{6})([0-9])[MFX<]([0-9]{6})([0-9])[A-Z0-9<]{14}[0-9<][0-9]"
)


def find_travel_lines(text: str) -> Iterator[tuple[int, int]]:
    for match in _TRAVEL_LINE.finditer(text):
        if all(travel_digit(match[place]) == int(match[place + 1]) for place in (1, 3, 5)):
            yield match.span()


_FIND_ACCOUNT = _find_near(
    (
        "เลขที่บัญชี",
        "เลขบัญชี",
        "หมายเลขบัญชี",
        "บัญชีธนาคาร",
        "บัญชีออมทรัพย์",
        "บ/ช",
        "พร้อมเพย์",
        "account no",
        "account number",
        "a/c",
        "kontonummer",
        "kontonr",
        "kto",
    ),
    r"(?<![0-9])[0-9](?:[ -]?[0-9]){7,14}(?![0-9])",
    lambda one: 8 <= len(_strip(one)) <= 15,
)
_THAI_ACCOUNT = re.compile(r"(?<![0-9A-Za-z-])[0-9]{3}-[0-9]-[0-9]{5}-[0-9](?![0-9-])")


def find_accounts(text: str) -> Iterator[tuple[int, int]]:
    for match in _THAI_ACCOUNT.finditer(text):
        yield match.span()


_FIND_THAI_PHONE = _find_numbers(
    r"(?:\+66[ .\-]?(?:\(0\))?|0066[ .\-]?|66(?=[689])|0)(?:[689](?:[ .\-]?[0-9]){8}|[23457](?:[ .\-]?[0-9]){7})",
    lambda digits: 9 <= len(digits) <= 13,
    separators=6,
)
_FIND_GERMAN_PHONE = _find_numbers(
    r"(?:\+49|0049)[ /\-]?(?:\(0\)[ ]?)?[1-9](?:[ /\-.]?[0-9]){5,11}|01[567][0-9]{1,2}[ /\-]?[0-9]{3,4}[ ]?[0-9]{3,5}|"
    r"\(?0[2-9][0-9]{1,4}\)?[ ]?[/\-][ ]?[0-9]{2,5}(?:[ \-]?[0-9]{2,4}){1,3}",
    lambda digits: 9 <= len(digits) <= 15 and len(set(digits)) > 2,
    separators=8,
)
_FIND_FOREIGN_PHONE = _find_numbers(
    r"\+[1-9](?:[ .\-()]{0,2}[0-9]){8,13}", lambda digits: len(set(digits)) > 2, separators=7
)
_FIND_NAMED_PHONE = _find_near(
    ("โทรศัพท์", "โทรสาร", "โทร", "เบอร์", "มือถือ", "tel", "phone", "mobile", "handy", "fax"),
    r"(?<![0-9])\(?\+?0?[0-9](?:[ .\-/()]{0,2}[0-9]){7,13}(?![0-9])",
    lambda one: 8 <= len(_strip(one)) <= 14 and one.lstrip("(")[0] in "+0",
)


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    for find in (_FIND_THAI_PHONE, _FIND_GERMAN_PHONE, _FIND_FOREIGN_PHONE):
        yield from find(text)


_DENSE = re.compile(r"[0-9](?:[^0-9]{0,3}[0-9]){5}")
_MARGIN = 80
"""Characters on either side of a dense run of digits that may belong to its number."""


def find_dense(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of a text that hold at least six digits close together: numbers need be looked for nowhere else."""
    start = stop = 0
    for match in _DENSE.finditer(text):
        if stop and match.start() - _MARGIN > stop:
            yield start, stop
            stop = 0
        if not stop:
            start = max(match.start() - _MARGIN, 0)
        stop = match.end() + _MARGIN
    if stop:
        yield start, min(stop, len(text))


IN_DENSE: dict[str, Finder] = {
    "iban": find_ibans,
    "card": _find_numbers(r"[2-6](?:[ -]?[0-9]){12,18}", is_card, separators=5, after_letters=True),
    "national_id": _find_numbers(r"[1-8](?:[ .-]?[0-9]){12}", is_thai_id, separators=6, after_letters=True),
    "tax_id": _find_numbers(
        r"[1-9][0-9]{10}|[1-9][0-9][ ][0-9]{3}[ ][0-9]{3}[ ][0-9]{3}", is_german_tax_id, separators=3
    ),
    "insurance_number": _FIND_INSURANCE,
    "european_id": find_european_ids,
    "passport": find_travel_lines,
    "bank_account": find_accounts,
    "phone": find_phones,
}
"""Kind → finder in a dense stretch."""
NEAR_WORDS: tuple[tuple[str, NearFinder], ...] = (
    ("european_id", _FIND_DUTCH),
    ("european_id", _FIND_POLISH),
    ("passport", _FIND_PASSPORT_NUMBER),
    ("bank_account", _FIND_ACCOUNT),
    ("phone", _FIND_NAMED_PHONE),
)
"""Finders that go by a word, in the whole text."""
