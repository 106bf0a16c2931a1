"""Questions with exact keys, five kinds of them, from the sections of one law at a time.

    find         a sentence without its section → the section's number
    cloze        a sentence with an amount or a period left out, in digits or words → that number in digits
    reference    a sentence with a cited section left out → that section's number
    definition   a term → the section that defines it
    absent       a section that the law does not have → that there is none; with as many that it has (`present`)

A question counts only where its key is the only right one within the law: a sentence that stands in one section alone,
with one gap that could be filled. What is chosen follows from the seed and the question itself, not from the order of
the file.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from trainer.citations import fold_section
from trainer.evaluation.folding import fold_digits
from trainer.lawtasks.corpus import Section
from trainer.lawtasks.languages import Language

KINDS = ("find", "cloze", "reference", "definition", "absent", "present")
SHORTEST, LONGEST = 40, 400
"""Characters of a sentence that is asked about."""
GAP = "____"


@dataclass(frozen=True)
class Question:
    kind: str
    law: str
    section: str
    """The section that the answer stands in."""
    question: str
    answer: str
    answerable: bool = True

    def row(self) -> dict[str, object]:
        """As a row of prompts: what rewards read of it is named as they name it."""
        citations = [{"law": self.law, "section": self.section}] if self.answerable else []
        return {
            "question": self.question,
            "answer": self.answer,
            "kind": self.kind,
            "law_name": self.law,
            "citations": citations,
            "answerable": self.answerable,
        }


def make_questions(sections: Sequence[Section], language: Language, *, each: int, seed: int) -> list[Question]:
    """At most `each` questions of every kind from the sections of one law."""
    made: list[Question] = []
    for make in (_find, _cloze, _reference, _definition):
        found = _one_of_each_section(make(sections, language))
        made += _choose(found, each, seed)
    absent = list(_absent(sections, language, each))
    present = [
        Question("present", one.law, one.number, language.read.format(law=one.law, number=one.number), one.text)
        for one in sections
        if SHORTEST <= len(one.text) <= LONGEST
    ]
    return [*made, *absent, *_choose(present, len(absent), seed)]


def _find(sections: Sequence[Section], language: Language) -> Iterator[Question]:
    counted = Counter(sentence for one in sections for sentence in set(_sentences(one, language)))
    for one in sections:
        for sentence in _sentences(one, language):
            if counted[sentence] == 1:
                asked = language.find.format(law=one.law, sentence=sentence)
                yield Question("find", one.law, one.number, asked, one.number)


def _cloze(sections: Sequence[Section], language: Language) -> Iterator[Question]:
    for one, sentence, gap in _gaps(sections, language, lambda text: list(language.amount.finditer(fold_digits(text)))):
        place = "number" if gap["number"] is not None else "counted"
        value = language.value(gap[place])
        if value is None:
            continue
        asked = _leave_out(fold_digits(sentence), gap, place)
        yield Question(
            "cloze",
            one.law,
            one.number,
            language.cloze.format(law=one.law, number=one.number, sentence=asked),
            str(value),
        )


def _reference(sections: Sequence[Section], language: Language) -> Iterator[Question]:
    there = {fold_section(one.number) for one in sections}
    for one, sentence, gap in _gaps(sections, language, lambda text: list(language.cited.finditer(fold_digits(text)))):
        cited = fold_section(gap["number"])
        if cited in there and cited != fold_section(one.number) and not language.elsewhere.search(sentence):
            asked = _leave_out(fold_digits(sentence), gap, "number")
            yield Question(
                "reference",
                one.law,
                one.number,
                language.reference.format(law=one.law, number=one.number, sentence=asked),
                gap["number"],
            )


def _definition(sections: Sequence[Section], language: Language) -> Iterator[Question]:
    terms = [(one, found["term"].strip()) for one in sections for found in language.defined.finditer(one.text)]
    counted = Counter(term for _, term in terms)
    for one, term in terms:
        if counted[term] == 1:
            asked = language.definition.format(law=one.law, term=term)
            yield Question("definition", one.law, one.number, asked, one.number)


def _absent(sections: Sequence[Section], language: Language, count: int) -> Iterator[Question]:
    """Numbers past the law's last section, and numbers that its sections leave out."""
    law = sections[0].law
    there = {int(found[0]) for one in sections if (found := re.match(r"\d+", fold_digits(one.number)))}
    if not there:
        return
    last = max(there)
    missing = [number for number in range(1, last) if number not in there]
    beyond = [last + step for step in (1, 2, 3, 5, 7, 11, 20, 50, 100, 200, 300, 500)]
    for number in (missing[: count // 2] + beyond)[:count]:
        asked = language.read.format(law=law, number=number)
        answer = language.absent.format(law=law, number=number)
        yield Question("absent", law, str(number), asked, answer, answerable=False)


def _gaps(
    sections: Sequence[Section], language: Language, match: Callable[[str], list[re.Match[str]]]
) -> Iterator[tuple[Section, str, re.Match[str]]]:
    """Sentences with exactly one place that could be left out."""
    for one in sections:
        for sentence in _sentences(one, language):
            found = match(sentence)
            if len(found) == 1:
                yield one, sentence, found[0]


def _sentences(section: Section, language: Language) -> list[str]:
    parts = (" ".join(part.split()) for part in language.sentence.split(section.text))
    return [part for part in parts if SHORTEST <= len(part) <= LONGEST]


def _leave_out(sentence: str, gap: re.Match[str], group: str) -> str:
    start, end = gap.span(group)
    return sentence[:start] + GAP + sentence[end:]


def _one_of_each_section(found: Iterator[Question]) -> list[Question]:
    """Questions of one section are not independent: the first counts."""
    first: dict[str, Question] = {}
    for one in found:
        first.setdefault(one.section, one)
    return list(first.values())


def _choose(found: list[Question], count: int, seed: int) -> list[Question]:
    return sorted(found, key=lambda one: sha256(f"{seed} {one.kind} {one.law} {one.section}".encode()).digest())[:count]
