"""Questions made from a corpus' own cross references: a sentence without the sections that it names must find them.

For laws that number sections with § and have no question set of their own. Of each section, the first sentence counts
that names other sections of the same law and nothing outside it; one question per section keeps questions independent.
"""

import re

from toolsandbox.law.corpus import Section
from toolsandbox.law.recall import Question, section_id

_PART = r"\s*(?:Absatz|Absätze|Abs\.|Satz|Sätze|Nummer|Nummern|Nr\.|Buchstabe|Halbsatz|Alternative|Unterabsatz)"
_NUMBER = r"\d+[a-z]{0,2}\b"
_TAIL = rf"(?:{_PART}\s*{_NUMBER}(?:\s*(?:,|und|oder|bis)\s*{_NUMBER}(?!\s*(?:§|{_PART})))*)*"
_REFERENCE = re.compile(
    rf"§§?\s*({_NUMBER}){_TAIL}(?:\s*(?:,|und|oder|bis|sowie|bis zu)\s*(?:(?:des|der|die|den)\s+)?(?:§§?\s*)?"
    rf"{_NUMBER}{_TAIL})*"
)
_SECTION = re.compile(rf"(?:§§?|,|und|oder|bis|sowie)\s*({_NUMBER})")
_PARTS = re.compile(rf"{_PART}\s*{_NUMBER}(?:\s*(?:,|und|oder|bis)\s*\d+\b(?!\s*{_PART}))*")
_ELSEWHERE = re.compile(r"(?:gesetz|buch|ordnung|vertrag|richtlinie|Verordnung|Richtlinie)(?:e?s|en|e)?\b")
_SENTENCE = re.compile(r"(?<=[a-zäöüß)\d][.;])\s+(?=[A-ZÄÖÜ(§])|\n")
SHORTEST = 60
"""Characters that a sentence must have without its references: less says too little to find anything by."""


def make_reference_questions(sections: list[Section]) -> list[Question]:
    """At most one question per section. Its gold are the sections that its sentence names, as far as there are any."""
    there = {(section.law_name, section_id(section.section_num)) for section in sections}
    questions = []
    for section in sections:
        own = (section.law_name, section_id(section.section_num))
        for sentence in _SENTENCE.split(section.text):
            named = {(section.law_name, section_id(number)) for number in _list_sections(sentence)}
            gold = frozenset((named & there) - {own})
            text = " ".join(_REFERENCE.sub(" ", sentence).split())
            if gold and gold == named and len(text) >= SHORTEST and "§" not in text and not _ELSEWHERE.search(sentence):
                questions.append(Question(text, gold, source=own))
                break
    return questions


def _list_sections(sentence: str) -> list[str]:
    """Numbers of sections that a sentence names; of a range its ends."""
    return [
        number
        for reference in _REFERENCE.finditer(sentence)
        for number in _SECTION.findall(_PARTS.sub(" ", reference[0]))
    ]
