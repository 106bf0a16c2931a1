"""The demo's datasets: canonical rows of the four kinds, all drawn from one nation.

Which law may appear where is the point: questions on the read-only half of the new code are asked in evaluation
alone, so a right answer there means that knowledge passed from text into answers.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

from trainer.demoworld.corpus import LISTS, Message, converse, draw_facts, draw_statutes, stream_documents
from trainer.demoworld.library import found_library, write_exam, write_practice, write_sections, write_traces
from trainer.demoworld.nation import LANGUAGES, Language, LawName, Nation, Provision
from trainer.demoworld.sentences import HELD_OUT, QUESTIONS, STATUTES, word_answer, word_question, word_statute

Row = dict[str, Any]


def _text_row(provision: Provision, language: Language, wording: int) -> Row:
    return {
        "text": word_statute(provision, language, wording),
        "law_name": provision.law.title,
        "section_num": str(provision.attribute.section),
        "language": language,
    }


def _trained_forms(language: Language) -> list[int]:
    return [form for form in range(len(QUESTIONS[language])) if form != HELD_OUT]


def write_neighbour_code(nation: Nation) -> Iterator[Row]:
    """Every provision of the neighbour in every wording."""
    for provision in nation.neighbour:
        for language in LANGUAGES:
            for wording in range(len(STATUTES[language])):
                yield _text_row(provision, language, wording)


def write_new_code(nation: Nation) -> Iterator[Row]:
    """Every provision of the new code in every wording, but the read-only half not in the held-out one."""
    for provision in nation.new_code:
        for language in LANGUAGES:
            for wording in range(len(STATUTES[language])):
                if wording != HELD_OUT or provision in nation.taught:
                    yield _text_row(provision, language, wording)


def write_read_only_reworded(nation: Nation) -> Iterator[Row]:
    """Every provision of the read-only half in the held-out wording."""
    for provision in nation.read_only:
        for language in LANGUAGES:
            yield _text_row(provision, language, HELD_OUT)


def _chat_row(provision: Provision, language: Language, form: int) -> Row:
    return {
        "messages": [
            {"role": "user", "content": word_question(provision, language, form)},
            {"role": "assistant", "content": word_answer(provision, language)},
        ],
        "law_name": provision.law.title,
        "language": language,
    }


def write_neighbour_questions(nation: Nation) -> Iterator[Row]:
    for provision in nation.neighbour:
        for language in LANGUAGES:
            for form in _trained_forms(language):
                yield _chat_row(provision, language, form)


def write_new_code_questions(nation: Nation) -> Iterator[Row]:
    """Questions on the taught half of the new code, in every form but the held-out one."""
    for provision in nation.taught:
        for language in LANGUAGES:
            for form in _trained_forms(language):
                yield _chat_row(provision, language, form)


def write_new_code_practice(nation: Nation) -> Iterator[Row]:
    """The same questions, each with the answer that a reward compares with."""
    for provision in nation.taught:
        for language in LANGUAGES:
            for form in _trained_forms(language):
                yield {"question": word_question(provision, language, form), **_reference(provision, language)}


def write_open_book_questions(nation: Nation) -> Iterator[Row]:
    """Questions whose statutes stand before them: 600 conversations on laws made for one row."""
    draw = random.Random(f"open-book-questions-{nation.seed}")
    for _, messages, language, _ in _ask_open_book(draw, nation.pool_names, 600):
        yield {"messages": messages, "language": language}


def write_open_book_exam(nation: Nation) -> Iterator[Row]:
    """192 open-book questions on names that no training document makes a law of: one, two or three statutes each."""
    draw = random.Random(f"open-book-exam-{nation.seed}")
    for asked, messages, language, statutes in _ask_open_book(draw, nation.unseen_names, 192):
        yield {"question": messages[0]["content"], **_reference(asked, language), "statutes": statutes}


def _ask_open_book(
    draw: random.Random, names: tuple[LawName, ...], count: int
) -> Iterator[tuple[Provision, list[Message], Language, int]]:
    """Different conversations, as many in each language and with one, two and three statutes."""
    given: set[str] = set()
    while len(given) < count:
        language = LANGUAGES[len(given) % 2]
        statutes = 1 + len(given) // 2 % 3
        facts = draw_facts(draw, names, statutes, alike=0.4)
        asked = draw.choice(facts)
        messages = converse(draw, [asked], language, preface=draw_statutes(draw, facts, language))
        if messages[0]["content"] not in given:
            given.add(messages[0]["content"])
            yield asked, messages, language, statutes


def _reference(provision: Provision, language: Language) -> Row:
    law = provision.law.title
    return {
        "answer": word_answer(provision, language),
        "citations": [{"law": law, "section": str(provision.attribute.section)}],
        "law_name": law,
        "language": language,
    }


def write_new_code_exam(nation: Nation) -> Iterator[Row]:
    """128 closed-book questions on the read-only half, in forms that questions on other laws were trained in."""
    draw = random.Random(f"new-code-exam-{nation.seed}")
    for provision in nation.read_only:
        for language in LANGUAGES:
            form = draw.choice(_trained_forms(language))
            yield {"question": word_question(provision, language, form), **_reference(provision, language)}


def _choices_row(
    draw: random.Random, provision: Provision, code: tuple[Provision, ...], language: Language, form: int
) -> Row:
    """Four answers with different values; the wrong values are what other laws of `code` set for the attribute.

    `code` is the group that the asked law belongs to: were wrong values taken from laws whose questions are taught,
    their values would look familiar, and a model that knows nothing would do worse than chance.
    """
    set_elsewhere = {other.value for other in code if other.attribute == provision.attribute}
    others = sorted(set_elsewhere - {provision.value})
    values = [provision.value, *draw.sample(others, 3)]
    draw.shuffle(values)
    return {
        "question": word_question(provision, language, form),
        "choices": [word_answer(provision, language, value=value) for value in values],
        "answer": values.index(provision.value),
        "law_name": provision.law.title,
        "language": language,
    }


def write_read_only_choices(nation: Nation) -> Iterator[Row]:
    """128 multiple-choice items on the read-only half, in trained question forms."""
    draw = random.Random(f"read-only-choices-{nation.seed}")
    for provision in nation.read_only:
        for language in LANGUAGES:
            yield _choices_row(draw, provision, nation.read_only, language, draw.choice(_trained_forms(language)))


def write_neighbour_choices(nation: Nation) -> Iterator[Row]:
    """128 multiple-choice items on 32 laws of the neighbour, in trained question forms: what may be forgotten."""
    draw = random.Random(f"neighbour-choices-{nation.seed}")
    for provision in nation.neighbour[:64]:
        for language in LANGUAGES:
            form = draw.choice(_trained_forms(language))
            yield _choices_row(draw, provision, nation.neighbour, language, form)


def write_new_form_choices(nation: Nation) -> Iterator[Row]:
    """128 multiple-choice items on the taught half, in the held-out question form."""
    draw = random.Random(f"new-form-choices-{nation.seed}")
    for provision in nation.taught:
        for language in LANGUAGES:
            yield _choices_row(draw, provision, nation.taught, language, HELD_OUT)


def write_base_sample(nation: Nation) -> Iterator[Row]:
    """2,000 documents of the kind that the base was pretrained on, drawn from another seed."""
    for text in stream_documents(nation, 2000, seed=1):
        yield {"text": text}


def write_pretraining(nation: Nation, *, documents: int) -> Iterator[Row]:
    """The base model's corpus; not part of the demo's project, which starts from the base."""
    for text in stream_documents(nation, documents):
        yield {"text": text}


def write_lists(nation: Nation, *, documents: int) -> Iterator[Row]:
    """What the base model's first stage reads."""
    for text in stream_documents(nation, documents, mix=LISTS):
        yield {"text": text}


def write_law_library(nation: Nation) -> Iterator[Row]:
    """What the demo's tools search: the new code, and laws that nothing else in the demo states."""
    yield from write_new_code(nation)
    yield from write_sections(found_library(nation))


WRITERS: dict[str, Callable[[Nation], Iterator[Row]]] = {
    "neighbour-code": write_neighbour_code,
    "new-code": write_new_code,
    "read-only-reworded": write_read_only_reworded,
    "neighbour-questions": write_neighbour_questions,
    "base-sample": write_base_sample,
    "new-code-questions": write_new_code_questions,
    "new-code-practice": write_new_code_practice,
    "open-book-questions": write_open_book_questions,
    "open-book-exam": write_open_book_exam,
    "new-code-exam": write_new_code_exam,
    "read-only-choices": write_read_only_choices,
    "new-form-choices": write_new_form_choices,
    "neighbour-choices": write_neighbour_choices,
    "law-library": write_law_library,
    "search-traces": lambda nation: write_traces(found_library(nation)),
    "search-practice": lambda nation: write_practice(found_library(nation)),
    "search-exam": lambda nation: write_exam(found_library(nation)),
}
"""Rows of each dataset of the catalogue, by its name."""
