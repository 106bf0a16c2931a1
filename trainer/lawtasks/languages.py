"""How questions are put, and what amounts, references and definitions look like, by language."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from trainer.lawtasks.thai_numbers import WORDS, read_thai_number


def read_digits(written: str) -> int | None:
    digits = re.sub(r"[,.]", "", written)
    return int(digits) if digits.isdecimal() else None


@dataclass(frozen=True)
class Language:
    find: str
    cloze: str
    reference: str
    definition: str
    read: str
    absent: str
    """The answer to `read` where there is no such section."""
    amount: re.Pattern[str]
    """An amount or a period; the group `number`, or else `counted`, is what is left out."""
    cited: re.Pattern[str]
    """A section of the same law; the group `number` is what is left out."""
    defined: re.Pattern[str]
    """A definition; the group `term` is what is defined."""
    elsewhere: re.Pattern[str]
    """What makes a sentence speak of another law."""
    sentence: re.Pattern[str]
    """Where one sentence ends and the next begins."""
    value: Callable[[str], int | None] = read_digits
    """Of an amount as it is written; None where it is no number."""


THAI_NUMBER = rf"(?P<number>\d{{1,3}}(?:,\d{{3}})+|\d+|(?:{'|'.join(WORDS)})+)"
NO_AMOUNT = r"(?<![\d/.])" + "".join(f"(?<!{word})" for word in ("กึ่ง", "วัน", "ที่", *WORDS))
"""Before a part of a longer number, the half of something (กึ่งหนึ่ง), any day (วันหนึ่งวันใด) and the second (ที่สอง)."""
NUMBER = r"(?P<number>\d{1,3}(?:[,.]\d{3})+|\d+)"

LANGUAGES = {
    "th": Language(
        find="มาตราใดของ{law}บัญญัติว่า “{sentence}”",
        cloze="เติมตัวเลขในช่องว่างตามมาตรา {number} แห่ง{law}: “{sentence}”",
        reference="มาตรา {number} แห่ง{law} อ้างถึงมาตราใดในช่องว่าง: “{sentence}”",
        definition="มาตราใดของ{law}ให้นิยามคำว่า “{term}”",
        read="มาตรา {number} แห่ง{law}บัญญัติว่าอย่างไร",
        absent="ไม่มีมาตรา {number} ใน{law}",
        amount=re.compile(
            rf"(?:ร้อยละ\s?{THAI_NUMBER})|"
            rf"(?:{NO_AMOUNT}{THAI_NUMBER.replace('number', 'counted')}\s?(?:บาท|ปี|เดือน|วัน|ชั่วโมง)(?!ใด))"
        ),
        cited=re.compile(
            r"มาตรา\s?(?P<number>\d+(?:/\d+)?)(?!\s?(?:ทวิ|ตรี|จัตวา|เบญจ|ฉ|สัตต|อัฏฐ|นว|ทศ|/|แห่ง|\d|ถึง|และ|หรือ|,))"
        ),
        defined=re.compile(r"“(?P<term>[^”]{2,60})”\s?หมายความ"),
        elsewhere=re.compile(r"แห่ง(?:พระราช|ประมวล)|กฎหมายว่าด้วย|มาตรานี้"),
        sentence=re.compile(r"\n+"),
        value=lambda written: read_digits(written) or read_thai_number(written),
    ),
    "de": Language(
        find="Welcher Paragraph des Gesetzes „{law}“ bestimmt: „{sentence}“?",
        cloze="Welche Zahl fehlt in § {number} des Gesetzes „{law}“: „{sentence}“?",
        reference="Auf welchen Paragraphen verweist § {number} des Gesetzes „{law}“ an der Lücke: „{sentence}“?",
        definition="In welchem Paragraphen des Gesetzes „{law}“ steht, was „{term}“ heißt?",
        read="Was bestimmt § {number} des Gesetzes „{law}“?",
        absent="Es gibt keinen § {number} im Gesetz „{law}“.",
        amount=re.compile(
            rf"(?<![\d§.])(?<!§ ){NUMBER}\s(?:Jahre|Jahren|Monate|Monaten|Wochen|Tage|Tagen|Euro|Prozent|vom Hundert)\b"
        ),
        cited=re.compile(r"(?<!§)§ (?P<number>\d+[a-z]?)(?!\s?(?:,|und|oder|bis|\d))\b"),
        defined=re.compile(
            r"(?P<term>[A-ZÄÖÜ][\w-]{3,40}) im Sinne (?:dieses Gesetzes|des Gesetzes|dieser Vorschrift)\b"
        ),
        elsewhere=re.compile(r"(?:gesetz|buch|ordnung|vertrag)(?:e?s|en|e)?\b|Verordnung|Richtlinie"),
        sentence=re.compile(r"(?<=[a-zäöüß)\d][.;])\s+(?=[A-ZÄÖÜ(§])|\n+"),
    ),
    "en": Language(
        find="Which section of {law} says: “{sentence}”?",
        cloze="Which number is missing in section {number} of {law}: “{sentence}”?",
        reference="Which section does section {number} of {law} refer to in the gap: “{sentence}”?",
        definition="Which section of {law} says what “{term}” means?",
        read="What does section {number} of {law} say?",
        absent="There is no such section {number} in {law}.",
        amount=re.compile(
            rf"(?<![\d./]){NUMBER}\s(?:years?|months?|weeks?|days?|hours?|baht|euros?|dollars?|per ?cent)\b",
            re.IGNORECASE,
        ),
        cited=re.compile(r"\bsection (?P<number>\d+[a-z]?)(?!\s?(?:,|and|or|to|of|\d))\b", re.IGNORECASE),
        defined=re.compile(r"“(?P<term>[^”]{2,60})” means"),
        elsewhere=re.compile(r"\bof the [A-Z]\w+(?: \w+)* (?:Act|Code|Law)\b"),
        sentence=re.compile(r"(?<=[a-z)\d][.;])\s+(?=[A-Z(])|\n+"),
    ),
}
