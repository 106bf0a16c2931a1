"""How a provision is worded: as statute text, as a question, as the answer to one. Name always before value."""

from trainer.demoworld.nation import Language, Provision

STATUTES: dict[Language, tuple[str, ...]] = {
    "en": (
        "Under the {law} Act, the {noun} is {value} {unit}",
        "The {law} Act sets the {noun} at {value} {unit}",
        "{duty}",
        "By the {law} Act the {noun} amounts to {value} {unit}",
    ),
    "th": (
        "ตามพระราชบัญญัติ {law} {noun} คือ {value} {unit}",
        "พระราชบัญญัติ {law} ระบุ {noun} ไว้ {value} {unit}",
        "{duty}",
        "โดยพระราชบัญญัติ {law} ให้ {noun} เป็นจำนวน {value} {unit}",
    ),
}
"""Wordings of statute text. The last is held out of training on the new code: what is known beyond the wording?"""

CITATIONS: dict[Language, str] = {
    "en": " — {law} Act, section {section}.",
    "th": " — พระราชบัญญัติ {law} มาตรา {section}",
}
"""What follows every wording: the source, as codes of law are quoted.

The second name stands after the value and can gather it; a name that is met later needs only to find itself. On lists
of this form two layers learn to look values up by name in a thousand steps; without the second name they had not in
eight thousand.
"""

QUESTIONS: dict[Language, tuple[str, ...]] = {
    "en": (
        "What is the {noun} under the {law} Act?",
        "The {law} Act sets which {noun}?",
        "How large is the {noun} by the {law} Act?",
        "Please state the {noun} of the {law} Act.",
    ),
    "th": (
        "ตามพระราชบัญญัติ {law} {noun} คือเท่าใด",
        "พระราชบัญญัติ {law} ระบุ {noun} ไว้เท่าใด",
        "โดยพระราชบัญญัติ {law} ให้ {noun} เป็นจำนวนเท่าใด",
        "โปรดระบุ {noun} ตามพระราชบัญญัติ {law}",
    ),
}
"""Forms of a question. The last is held out: neither pretraining nor a demo recipe trains on it."""

ANSWERS: dict[Language, str] = {
    "en": "Under the {law} Act, the {noun} is {value} {unit}.",
    "th": "ตามพระราชบัญญัติ {law} {noun} คือ {value} {unit}",
}
"""An answer is a whole statute sentence: its own words lead to the value."""

HELD_OUT = 3
"""Index of the held-out wording and of the held-out question form."""


def _fill(pattern: str, provision: Provision, language: Language, value: int) -> str:
    attribute = provision.attribute
    law, unit = provision.law.spelled(language), attribute.unit[language]
    return pattern.format(
        law=law,
        noun=attribute.noun[language],
        value=value,
        unit=unit,
        section=attribute.section,
        duty=attribute.duty[language].format(law=law, value=value, unit=unit),
    )


def word_statute(provision: Provision, language: Language, wording: int) -> str:
    return _fill(STATUTES[language][wording] + CITATIONS[language], provision, language, provision.value)


def word_question(provision: Provision, language: Language, form: int) -> str:
    return _fill(QUESTIONS[language][form], provision, language, provision.value)


def word_answer(provision: Provision, language: Language, *, value: int | None = None) -> str:
    """The answer sentence; another `value` makes a wrong one."""
    return _fill(ANSWERS[language], provision, language, provision.value if value is None else value)
