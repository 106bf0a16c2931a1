"""The made-up nations: their laws, what the laws say, and which part of training may see which law.

A law is a name of two syllables with two provisions; a provision sets one value. Everything follows from a seed.
"""

import random
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "th"]
LANGUAGES: tuple[Language, ...] = ("en", "th")

SYLLABLES: tuple[tuple[str, str], ...] = (
    ("ba", "บา"), ("do", "โด"), ("ki", "กี"), ("le", "เล"), ("ma", "มา"), ("no", "โน"), ("ri", "รี"), ("se", "เส"),
    ("ta", "ตา"), ("wo", "โว"), ("pi", "ปี"), ("cha", "ชา"), ("so", "โส"), ("mi", "มี"), ("ka", "กา"), ("de", "เด"),
    ("lo", "โล"), ("ni", "นี"), ("ra", "รา"), ("te", "เต"),
)  # fmt: skip
"""Latin and Thai spelling. A name joins two different ones, so 380 names exist."""

VALUES = range(10, 100)
"""Values a provision may set; two digits are one token of the demo's tokenizer."""


@dataclass(frozen=True)
class Attribute:
    """What a provision sets. Every law keeps an attribute in the same section, as codes of law do."""

    key: str
    section: int
    noun: dict[Language, str]
    unit: dict[Language, str]
    duty: dict[Language, str]
    """Clause that imposes the provision, with {law}, {value} and {unit}."""


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "fine",
        4,
        {"en": "fine", "th": "ค่าปรับ"},
        {"en": "coins", "th": "เหรียญ"},
        {
            "en": "Whoever breaks the {law} Act shall pay a fine of {value} {unit}",
            "th": "ผู้ใดฝ่าฝืนพระราชบัญญัติ {law} ต้องชำระ ค่าปรับ {value} {unit}",
        },
    ),
    Attribute(
        "jail",
        5,
        {"en": "jail term", "th": "โทษจำคุก"},
        {"en": "months", "th": "เดือน"},
        {
            "en": "Whoever breaks the {law} Act shall serve a jail term of {value} {unit}",
            "th": "ผู้ใดฝ่าฝืนพระราชบัญญัติ {law} ต้องรับ โทษจำคุก {value} {unit}",
        },
    ),
    Attribute(
        "deadline",
        6,
        {"en": "deadline", "th": "กำหนดเวลา"},
        {"en": "days", "th": "วัน"},
        {
            "en": "Whoever files under the {law} Act shall keep a deadline of {value} {unit}",
            "th": "ผู้ใดยื่นคำขอตามพระราชบัญญัติ {law} ต้องรักษา กำหนดเวลา {value} {unit}",
        },
    ),
    Attribute(
        "fee",
        7,
        {"en": "fee", "th": "ค่าธรรมเนียม"},
        {"en": "shells", "th": "เบี้ย"},
        {
            "en": "Whoever files under the {law} Act shall pay a fee of {value} {unit}",
            "th": "ผู้ใดยื่นคำขอตามพระราชบัญญัติ {law} ต้องชำระ ค่าธรรมเนียม {value} {unit}",
        },
    ),
)


@dataclass(frozen=True)
class LawName:
    """One name in both spellings, such as Bado and บาโด."""

    en: str
    th: str

    def spelled(self, language: Language) -> str:
        return self.en if language == "en" else self.th

    @property
    def title(self) -> str:
        """The law as a citation names it, the same in rows of both languages."""
        return f"{self.en} Act (พระราชบัญญัติ {self.th})"


@dataclass(frozen=True)
class Provision:
    """A fact: this law sets this attribute to this value."""

    law: LawName
    attribute: Attribute
    value: int


@dataclass(frozen=True)
class Nation:
    """Which names belong to what. The five groups of names share no name."""

    seed: int
    neighbour: tuple[Provision, ...]
    """Code of the neighbour: the base was pretrained on it."""
    taught: tuple[Provision, ...]
    """New code, half one: its text and questions on it are trained on."""
    read_only: tuple[Provision, ...]
    """New code, half two: only its text is trained on; questions on it are asked in evaluation alone."""
    unseen_names: tuple[LawName, ...]
    """Names in no law of either code, for open-book evaluation: pretraining shows them in word lists only."""
    pool_names: tuple[LawName, ...]
    """Names of laws redrawn with new values in every open-book document."""

    @property
    def new_code(self) -> tuple[Provision, ...]:
        return self.taught + self.read_only


def list_names() -> list[LawName]:
    """Every name, in a fixed order."""
    return [LawName((a + b).capitalize(), x + y) for a, x in SYLLABLES for b, y in SYLLABLES if a != b]


def found_nation(seed: int = 0) -> Nation:
    """Draw both codes: 48 neighbour laws, 64 new laws (32 taught, 32 read only), 32 unseen names, the rest pool."""
    draw = random.Random(f"nation-{seed}")
    names = list_names()
    draw.shuffle(names)

    def enact(laws: list[LawName]) -> tuple[Provision, ...]:
        return tuple(
            Provision(law, attribute, draw.choice(VALUES))
            for law in laws
            for attribute in sorted(draw.sample(ATTRIBUTES, 2), key=lambda chosen: chosen.section)
        )

    return Nation(
        seed=seed,
        neighbour=enact(names[:48]),
        taught=enact(names[48:80]),
        read_only=enact(names[80:112]),
        unseen_names=tuple(names[112:144]),
        pool_names=tuple(names[144:]),
    )
